#!/usr/bin/env bash
# Fetches what vkattn-bench compares with: ggml, and PyTorch with OpenBLAS. On Debian; nothing is installed. See docs/bench.md.
#
# apt fetches Debian forky's packages with a state of its own (signatures checked by the machine's Debian keyring), dpkg-deb
# unpacks them. ggml and torch lie apart: torch comes with a C library and a Python of its own, and is started by its own loader.
set -euo pipefail

dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/build/peers
suite=forky
mirror=${VKATTN_DEBIAN_MIRROR:-http://deb.debian.org/debian}

usage() {
  cat <<USAGE
usage: samples/bench/install_peers.sh [--dir DIR] [--help]

Unpacks Debian $suite's ggml (libggml-dev, libggml0-backend-vulkan) into DIR/ggml and PyTorch (python3-torch,
libopenblas0-pthread) into DIR/torch: 300 MB to fetch, 1.5 GB unpacked. DIR is build/peers unless said, where CMake and
vkattn-bench look by themselves; delete it to undo. VKATTN_DEBIAN_MIRROR (environment): another mirror than $mirror.
USAGE
}

say() { printf 'install_peers: %s\n' "$*"; }
fail() {
  printf 'install_peers: %s\n' "$*" >&2
  exit 1
}

while (($#)); do
  case $1 in
    --dir) (($# > 1)) || fail "--dir needs a folder"; dir=$2; shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; fail "unknown option $1" ;;
  esac
  shift
done
dir=$(realpath -m "$dir")

# Packages whose programs nobody starts here: compilers, documentation, what maintainer scripts want.
never='^(libtorch-test|g\+\+|gcc-|cpp|binutils|lib(gcc|stdc\+\+)-.*-dev|libpython3.*-dev|python3-(dev|torchvision)|debconf|tzdata)'

private_apt() { APT_CONFIG=$apt/apt.conf "$@"; }

make_private_apt() {
  local keyring=/usr/share/keyrings/debian-archive-keyring.gpg proxy='' errors
  [[ -r $keyring ]] || fail "there is no $keyring (package debian-archive-keyring)"
  eval "$(apt-config shell proxy Acquire::http::Proxy)"
  mkdir -p "$apt"/{etc,lists/partial,cache/archives/partial}
  : >"$apt/status" # as if nothing were installed: every dependency is resolved, the C library included
  echo "deb [signed-by=$keyring] $mirror $suite main" >"$apt/etc/sources.list"
  cat >"$apt/apt.conf" <<CONF
Dir::State "$apt";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
Dir::Etc "$apt/etc";
Dir::Etc::parts "/dev/null";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::http::Proxy "$proxy";
APT::Update::Error-Mode "any";
quiet "2";
CONF
  if ! errors=$(private_apt apt-get update 2>&1); then
    grep -q 'is expired' <<<"$errors" || fail "cannot read Debian $suite from $mirror: $(head -n 1 <<<"$errors")"
    echo 'Acquire::Check-Valid-Until "false";' >>"$apt/apt.conf" # a mirror kept at a date; its signature is checked
    errors=$(private_apt apt-get update 2>&1) || fail "cannot read Debian $suite from $mirror: $(head -n 1 <<<"$errors")"
  fi
}

unpack() { # unpack FOLDER PATTERN PACKAGE...: the packages and what they need, as far as their names match
  local folder=$dir.new/$1 pattern=$2 wanted deb
  shift 2
  wanted=$(private_apt apt-get -s install "$@") || fail "Debian $suite cannot resolve: $*"
  wanted=$(awk '$1 == "Inst" { print $2 "=" substr($3, 2) }' <<<"$wanted" | grep -E "$pattern" | grep -Ev "$never")
  say "fetching $(wc -l <<<"$wanted") packages for $*"
  mkdir -p "$apt/debs" "$folder"
  # shellcheck disable=SC2086 # one word per package
  (cd "$apt/debs" && private_apt apt-get download $wanted) || fail "a package could not be fetched from $mirror"
  for deb in "$apt"/debs/*.deb; do dpkg-deb -x "$deb" "$folder"; done
  rm -rf "$apt/debs" "$folder"/usr/share/{doc,man,locale} "${folder:?}"/{etc,var}
}

for tool in apt-get dpkg-deb; do
  command -v "$tool" >/dev/null || fail "there is no $tool: this is no Debian; docs/bench.md names what is needed"
done
apt=$dir.apt
trap 'rm -rf "$dir.new" "$dir.apt"' EXIT # nothing half-made stays
rm -rf "$dir.new" "$apt"
make_private_apt
unpack ggml '^lib(ggml|gomp)' libggml-dev libggml0-backend-vulkan # its other libraries are those of build/deps
unpack torch . python3-torch libopenblas0-pthread
rm -rf "$dir"
mv "$dir.new" "$dir"

loader=$(find "$dir"/torch/usr/lib/*-linux-gnu* -maxdepth 1 -name 'ld-linux*.so.*' | head -n 1)
python=$(find "$dir/torch/usr/bin" -name 'python3.*' ! -name '*-config' | sort | head -n 1)
[[ -n $loader && -n $python ]] || fail "no loader or Python under $dir/torch: this architecture is not known here"
libs=$(dirname "$loader")
cat >"$dir/python" <<LAUNCHER
#!/bin/sh
# The Python of $dir/torch under its own loader, with OpenBLAS before any other BLAS. Written by install_peers.sh.
export PYTHONHOME='$dir/torch/usr' PYTHONDONTWRITEBYTECODE=1
exec '$loader' --library-path '$libs:$libs/openblas-pthread:$libs/lapack:$dir/torch/usr/lib' '$python' "\$@"
LAUNCHER
chmod +x "$dir/python"
say "done: $dir ($(du -sh "$dir" | cut -f1)). Configure again and build vkattn-bench: it finds both."
