#!/bin/sh
# Write the conda environment that has the same packages as the lock: `sh envs/conda.sh < workflow.lock > classlens.yaml`.
# The pins are spelled out because `snakemake --software-deployment-method conda` copies the file away from the lock.
printf '# Made by `make lock` from workflow.lock: python from conda, every other package as pinned there.\n'
printf 'name: classlens\nchannels: [conda-forge]\ndependencies:\n  - python=3.11\n  - pip\n  - pip:\n'
sed -n 's/^\([a-z0-9][^ ]*==[^\\]*[^ \\]\) *\\$/      - "\1"/p' | sed "s/' *\"$/'\"/"
