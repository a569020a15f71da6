#!/usr/bin/env bash
# Installs vkattn from a build folder and uses it as other projects would: through find_package and through pkg-config.
# usage: tests/consumer/run.sh [BUILD-FOLDER [README-EXAMPLE.cpp]]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$(realpath "${1:-$here/../../build}")
example=${2:+$(realpath "$2")}
work=$build/consumer
run=$(sed -n 's/^VKATTN_DEPS:[A-Z]*=//p' "$build/CMakeCache.txt")/bin/run-private
[[ -x $run ]] || run='env' # the system's own libraries: programs start as they are

rm -rf "$work"
cmake --install "$build" --prefix "$work/prefix" >/dev/null

cmake -S "$here" -B "$work/cmake" -G Ninja -DCMAKE_PREFIX_PATH="$work/prefix" -DREADME_EXAMPLE="$example" >/dev/null
cmake --build "$work/cmake"
"$run" "$work/cmake/consumer"

PKG_CONFIG_PATH=$work/prefix/lib/pkgconfig:$work/prefix/lib64/pkgconfig:$work/prefix/lib/$(uname -m)-linux-gnu/pkgconfig
export PKG_CONFIG_PATH
# shellcheck disable=SC2046 # flags are words
${CXX:-g++} -std=c++20 "$here/main.cpp" $(pkg-config --cflags --libs vkattn) -o "$work/by_pkg_config"
"$run" "$work/by_pkg_config"
echo "consumer: find_package and pkg-config both work"
