#!/bin/sh
# Install the pinned packages into /opt/classlens/.venv from the locks in this script's folder. Both images run it while they are built.
set -eu
envs=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
python -m venv /tmp/installer
export UV_CACHE_DIR="${UV_CACHE_DIR:-/tmp/installer/cache}"  # uv links files from its cache, so both share one disk
/tmp/installer/bin/python -m pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes -r "$envs/installer.lock"
python -m venv --without-pip /opt/classlens/.venv
/tmp/installer/bin/uv pip sync --quiet --python /opt/classlens/.venv/bin/python --require-hashes --compile-bytecode "$envs/workflow.lock"
cp "$envs/classlens" /opt/classlens/.venv/bin/classlens
rm -r /tmp/installer
