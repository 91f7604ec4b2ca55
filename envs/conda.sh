#!/bin/sh
# Write a conda environment with the packages of the lock file: `sh envs/conda.sh < workflow.lock > classlens.yaml`.
# It lists all pins, because `snakemake --software-deployment-method conda` copies it to a folder without the lock file.
printf '# Made by `make lock` from workflow.lock: python from conda, every other package as pinned there.\n'
printf 'name: classlens\nchannels: [conda-forge]\ndependencies:\n  - python=3.11\n  - pip\n  - pip:\n'
sed -n 's/^\([a-z0-9][^ ]*==[^\\]*[^ \\]\) *\\$/      - "\1"/p' | sed "s/' *\"$/'\"/"
