#!/bin/sh
# Installs what train.py and reference.py need: two data sets as Debian packages and a
# Python environment. Nothing here is needed to compile or run the finished model.
#
#   ./setup-training.sh [FOLDER]     FOLDER of the environment, by default .venv beside this file
set -eu

here=$(cd "$(dirname "$0")" && pwd)
venv=${1:-"$here/.venv"}

if [ "$(id -u)" -eq 0 ]; then as_root=; else as_root=sudo; fi
$as_root apt-get update
$as_root apt-get install --yes --no-install-recommends \
    bible-kjv bible-kjv-text dataset-fashion-mnist python3 python3-venv

python3 -m venv "$venv"
"$venv/bin/pip" install --requirement "$here/requirements.txt"
echo "ready: $venv/bin/python $here/train.py --help"
