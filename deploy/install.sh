#!/bin/sh
# Installs TinyCDP into an empty folder: `sh deploy/install.sh /opt/tinycdp` gives /opt/tinycdp/bin/tinycdp, which needs
# nothing of this checkout any more. The image is built by it, and a machine without containers takes the same way.
# It needs Python >= 3.11; PYTHON names another one than `python3`. What it installs is what the tests ran with.
set -eu

prefix=${1:?"name the folder to install into: sh deploy/install.sh /opt/tinycdp"}
source=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

if [ -e "$prefix" ] && [ -n "$(ls -A "$prefix")" ]; then
  echo "$prefix is not empty: name another folder, or remove it first" >&2
  exit 1
fi

"${PYTHON:-python3}" -m venv "$prefix"
pip() { "$prefix/bin/python" -m pip --disable-pip-version-check "$@"; }
pip install --quiet --require-hashes -r "$source/deploy/requirements.lock" -c "$source/deploy/requirements.lock"

# They are built beside the checkout, which may be read-only, and which builds would leave files in. What git leaves out, as
# node_modules, no package has.
building=$(mktemp -d)
trap 'rm -rf "$building"' EXIT
mkdir "$building/sdk"
for name in .gitignore LICENSE README.md pyproject.toml cli dashboard examples expressions lake pipelines sdk/python serving; do
  cp -R "$source/$name" "$building/$name"
done
pip install --quiet --no-deps --no-build-isolation "$building" "$building/sdk/python"
"$prefix/bin/tinycdp" --version
