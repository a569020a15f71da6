#!/usr/bin/env bash
# Brings what is missing, builds, and runs the tests. On Debian a root shell is all it needs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'USAGE'
usage: tests/run.sh [--long] [--preset NAME] [--help] [-- CTEST-ARGUMENTS]

  --long         also the long campaigns (random trees, fuzzers): hours instead of minutes
  --preset NAME  another build than release: debug, asan, tsan, no-compiler, clang
  after --       for ctest: "-R masks" runs the tests whose name contains masks, "-N" lists them all
USAGE
}

preset=release long=no
while (($#)); do
  case $1 in
    --long) long=yes ;;
    --preset) (($# > 1)) || { usage >&2; exit 2; }; preset=$2; shift ;;
    -h | --help) usage; exit 0 ;;
    --) shift; break ;;
    *) usage >&2; echo "tests/run.sh: unknown option $1" >&2; exit 2 ;;
  esac
  shift
done

third_party/install.sh
build=build
[[ $preset == release ]] || build=build/$preset
# A configured build configures itself again when a CMake file has changed.
[[ -f $build/build.ninja ]] || cmake --preset "$preset" >/dev/null
cmake --build "$build"

selection=(-LE long)
if [[ $long == yes ]]; then
  export VKATTN_LONG=1
  selection=()
fi
exec ctest --test-dir "$build" --output-on-failure --no-tests=error --parallel "$(nproc)" "${selection[@]}" "$@"
