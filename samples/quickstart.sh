#!/usr/bin/env bash
# From nothing to attention: brings what is missing, builds, and shows what vkattn does. A second run starts at once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  echo "usage: samples/quickstart.sh     sets up, builds and demonstrates vkattn; needs no options"
  exit 0
fi

show() { # prints a command as a user would type it, then runs it
  printf '\n$ %s\n' "$(printf '%q ' "$@" | sed -E 's/ $//')"
  "$@"
}
title() { printf '\n== %s\n' "$*"; }

third_party/install.sh
[[ -f build/build.ninja ]] || cmake --preset release >/dev/null
echo "quickstart: building (the first time takes some minutes)"
cmake --build build --target samples/all >build/quickstart.log || { tail -n 40 build/quickstart.log >&2; exit 1; }

# Drivers' compiled code is kept from run to run.
export MESA_SHADER_CACHE_DIR=${MESA_SHADER_CACHE_DIR:-$PWD/build/mesa_shader_cache}
out=build/quickstart
mkdir -p "$MESA_SHADER_CACHE_DIR" "$out"

# ---- what it shows -------------------------------------------------------------------------------------------------

title "The devices, best first"
show build/bin/vkattn devices
