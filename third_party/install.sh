#!/usr/bin/env bash
# Brings what vkattn is built and tested with. third_party/README.md says what each package is for.
#
# Debian 12's own shader compiler, Vulkan headers and Mesa are too old for cooperative matrices. So by default newer
# ones are unpacked, not installed, into a private folder. apt fetches them with a state of its own (signatures checked
# by the machine's Debian keyring), dpkg-deb unpacks them; the system's libraries and apt set-up stay as they are.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
self=$here/$(basename "${BASH_SOURCE[0]}")
dir=$(dirname "$here")/build/deps
suite=forky
mirror=${VKATTN_DEBIAN_MIRROR:-http://deb.debian.org/debian}
mode=auto
ci=no

usage() {
  cat <<USAGE
usage: third_party/install.sh [--dir DIR] [--ci] [--system] [--help]

Brings what vkattn is built and tested with; a second run brings nothing.

  --dir DIR   the private folder (default: build/deps); delete it to undo
  --ci        also the tools that only .ci/run needs (clang, clang-format, shellcheck, ccache)
  --system    instead of the private folder, install Debian $suite's packages into this system by apt pinning.
              This upgrades the system's C library: for throw-away machines and containers.
  VKATTN_DEBIAN_MIRROR (environment) names another Debian mirror than $mirror.

In the private folder: bin/glslc, spirv-val, vulkaninfo and so on, and bin/run-private PROGRAM, which starts any program
with the folder's libraries, lavapipe, SwiftShader and the validation layer.
USAGE
}

say() { printf 'install: %s\n' "$*"; }
fail() {
  printf 'install: %s\n' "$*" >&2
  exit 1
}

while (($#)); do
  case $1 in
    --dir) (($# > 1)) || fail "--dir needs a folder"; dir=$2; shift ;;
    --ci) ci=yes ;;
    --system) mode=system ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; fail "unknown option $1" ;;
  esac
  shift
done
dir=$(realpath -m "$dir")

# ---- what is needed ------------------------------------------------------------------------------------------------

# Build tools: "program package", from the machine's own distribution.
tools=("g++ g++" "cmake cmake" "ninja ninja-build" "git git" "pkg-config pkg-config")
[[ $ci == no ]] || tools+=("clang++ clang" "clang-format clang-format" "shellcheck shellcheck" "ccache ccache")

# From Debian $suite, with everything these need at run time.
packages=(
  libvulkan1 libvulkan-dev vulkan-validationlayers vulkan-tools # loader, headers, validation, vulkaninfo
  mesa-vulkan-drivers mesa-drm-shim                             # lavapipe; vendors' compilers without their GPUs
  glslc libshaderc1 libshaderc-dev glslang-tools spirv-tools    # GLSL -> SPIR-V, at build time and at run time
  libvulkan-volk-dev libvulkan-memory-allocator-dev             # samples
  libxxhash-dev libcli11-dev nlohmann-json3-dev libstb-dev libeigen3-dev doctest-dev # headers only
  libasan8 libubsan1 libtsan2                                   # sanitizers that know the folder's C library
)
# Dependencies of maintainer scripts and of Python helpers, which an unpacked folder never runs.
never='^(python3|libpython3|debconf|media-types|netbase|tzdata|libssl|openssl|libsqlite3|libdb5|libreadline|readline)'
swiftshader_package=chromium-common

# Other distributions: the same things under the names they have there.
names_elsewhere() {
  cat <<NAMES
  Fedora:   gcc-c++ cmake ninja-build git pkgconf vulkan-headers vulkan-loader-devel vulkan-validation-layers mesa-vulkan-drivers
            glslc libshaderc-devel spirv-tools xxhash-devel cli11-devel json-devel stb-devel eigen3-devel doctest-devel
  Arch:     base-devel cmake ninja git vulkan-headers vulkan-icd-loader vulkan-validation-layers vulkan-swrast shaderc
            spirv-tools xxhash cli11 nlohmann-json stb eigen doctest
  openSUSE: gcc-c++ cmake ninja git pkgconf vulkan-headers vulkan-devel vulkan-validationlayers libvulkan_lvp shaderc
            shaderc-devel spirv-tools xxhash-devel cli11-devel nlohmann_json-devel stb-devel eigen3-devel doctest-devel
  macOS:    brew install cmake ninja pkg-config vulkan-headers vulkan-loader molten-vk shaderc spirv-tools xxhash cli11
            nlohmann-json eigen doctest, and the stb headers
  Windows:  the Vulkan SDK (LunarG); vcpkg install xxhash cli11 nlohmann-json stb eigen3 doctest shaderc
NAMES
}

# ---- helpers -------------------------------------------------------------------------------------------------------

missing_tools() { # prints the packages of the build tools that are not there
  local entry
  for entry in "${tools[@]}"; do command -v "${entry% *}" >/dev/null || printf '%s\n' "${entry#* }"; done
}

as_root() {
  if ((EUID == 0)); then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else fail "this needs root: $*"; fi
}

apt_install() {
  say "installing $* from this system's own packages"
  # Another apt may hold the lock for a while (a cloud machine's first minutes).
  local options=(-qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
  local log
  as_root env DEBIAN_FRONTEND=noninteractive apt-get "${options[@]}" update ||
    say "warning: apt-get update failed; going on with the lists that are there"
  if ! log=$(as_root env DEBIAN_FRONTEND=noninteractive apt-get "${options[@]}" -y --no-install-recommends install "$@" \
    2>&1); then
    tail -n 5 <<<"$log" >&2
    fail "apt-get could not install: $*"
  fi
}

private_apt() { # apt-get or apt-cache with a state of its own; $apt is its folder
  APT_CONFIG=$apt/apt.conf "$@"
}

make_private_apt() {
  mkdir -p "$apt"/{etc,debs,lists/partial,cache/archives/partial}
  : >"$apt/status"
  local keyring=/usr/share/keyrings/debian-archive-keyring.gpg proxy=
  [[ -r $keyring ]] || apt_install debian-archive-keyring
  eval "$(apt-config shell proxy Acquire::http::Proxy)"
  echo "deb [signed-by=$keyring] $mirror $suite main" >"$apt/etc/sources.list"
  # An empty status file makes apt resolve every dependency, the C library included, as if nothing were installed.
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
Acquire::http::Proxy "${proxy:-}";
APT::Update::Error-Mode "any";
quiet "2";
CONF
  local errors
  if ! errors=$(private_apt apt-get update 2>&1); then
    # A mirror that is kept at a fixed date has an expired release file. Its signature is checked all the same.
    grep -q 'is expired' <<<"$errors" || fail "cannot read Debian $suite from $mirror: $(head -n 1 <<<"$errors")"
    say "note: $mirror holds an older state of $suite (its release file has expired; the signature is checked)"
    echo 'Acquire::Check-Valid-Until "false";' >>"$apt/apt.conf"
    errors=$(private_apt apt-get update 2>&1) || fail "cannot read Debian $suite from $mirror: $(head -n 1 <<<"$errors")"
  fi
}

# ---- the private folder --------------------------------------------------------------------------------------------

unpack_packages() { # into $new
  say "asking Debian $suite for the packages"
  make_private_apt
  local wanted
  wanted=$(private_apt apt-get -s install "${packages[@]}") ||
    fail "Debian $suite cannot resolve: ${packages[*]}"
  wanted=$(awk '$1 == "Inst" { version = substr($3, 2); print $2 "=" version }' <<<"$wanted" | grep -Ev "$never")
  say "fetching $(wc -l <<<"$wanted") packages (about 90 MB)"
  # shellcheck disable=SC2086 # one word per package
  (cd "$apt/debs" && private_apt apt-get download $wanted) || fail "a package could not be fetched from $mirror"
  say "unpacking into $dir"
  local deb
  for deb in "$apt"/debs/*.deb; do dpkg-deb -x "$deb" "$new"; done
  # Packages that still use /lib instead of /usr/lib.
  if [[ -d $new/lib && ! -L $new/lib ]]; then cp -a "$new/lib/." "$new/usr/lib/"; fi
  rm -rf "${new:?}"/{etc,var,bin,sbin,lib} "$new"/usr/share/{doc,man,locale,bash-completion}
  printf '%s\n' "$wanted" >"$new/packages.txt"
}

unpack_swiftshader() { # into $new; optional
  say "fetching SwiftShader ($swiftshader_package, 32 MB, two files of it kept)"
  mkdir "$apt/chromium" "$new/swiftshader"
  if ! (cd "$apt/chromium" && { private_apt apt-get download "$swiftshader_package" ||
    apt-get -qq download "$swiftshader_package"; }) >/dev/null 2>&1; then
    say "warning: SwiftShader cannot be had now; the tests on it will be skipped"
    return 0
  fi
  dpkg-deb --fsys-tarfile "$apt"/chromium/*.deb |
    tar -x -C "$new/swiftshader" --wildcards --transform 's,.*/,,' '*/libvk_swiftshader.so' '*/vk_swiftshader_icd.json'
}

# One folder per library, so that a target sees the headers it asked for and never the folder's C library.
link_headers() {
  local entry library file
  rm -rf "$dir/include"
  for entry in vulkan-headers:vulkan vulkan-headers:vk_video shaderc:shaderc doctest:doctest cli11:CLI json:nlohmann \
    stb:stb xxhash:xxhash.h xxhash:xxh3.h eigen:eigen3/Eigen volk:volk.h volk:volk.c vma:vk_mem_alloc.h \
    spirv-headers:spirv; do
    library=${entry%:*} file=${entry#*:}
    [[ -e $dir/usr/include/$file ]] || continue
    mkdir -p "$dir/include/$library"
    ln -s "../../usr/include/$file" "$dir/include/$library/${file##*/}"
  done
}

# Driver and layer manifests with absolute paths.
write_manifests() {
  rm -rf "$dir/icd.d" "$dir/layers.d"
  mkdir -p "$dir/icd.d" "$dir/layers.d"
  local manifest name
  for manifest in "$dir"/usr/share/vulkan/icd.d/*.json; do
    name=$(basename "$manifest")
    manifest_with_path "$libs" <"$manifest" >"$dir/icd.d/${name/lvp_icd.json/lavapipe.json}"
  done
  for manifest in "$dir"/usr/share/vulkan/explicit_layer.d/*khronos*.json; do
    name=$(basename "$manifest")
    manifest_with_path "$libs" <"$manifest" >"$dir/layers.d/$name"
  done
  manifest=$dir/swiftshader/vk_swiftshader_icd.json
  [[ ! -e $manifest ]] || manifest_with_path "$dir/swiftshader" <"$manifest" >"$dir/icd.d/swiftshader.json"
}
manifest_with_path() { sed -E "s,(\"library_path\" *: *\")([^\"]*/)?,\1$1/,"; }

write_launchers() {
  rm -rf "${dir:?}/bin"
  mkdir -p "$dir/bin"
  cat >"$dir/bin/run-private" <<LAUNCHER
#!/bin/sh
# run-private PROGRAM [ARGUMENTS]: starts PROGRAM with the loader and libraries of $dir
# (the machine's own after them), and adds lavapipe, SwiftShader and the validation layer to the machine's own.
# VKATTN_PRELOAD names a library to preload. Written by third_party/install.sh.
libs='$libs'
[ \$# -gt 0 ] || { echo 'usage: run-private PROGRAM [ARGUMENTS]' >&2; exit 2; }
case \$1 in
  */*) program=\$1 ;;
  *) program=\$(command -v -- "\$1") || { echo "run-private: no program \$1" >&2; exit 127; } ;;
esac
shift
[ -x "\$program" ] || { echo "run-private: \$program is no program" >&2; exit 127; }
drivers='$drivers'
export VK_ADD_DRIVER_FILES="\${VK_ADD_DRIVER_FILES:+\$VK_ADD_DRIVER_FILES:}\$drivers"
export VK_ADD_LAYER_PATH="\${VK_ADD_LAYER_PATH:+\$VK_ADD_LAYER_PATH:}$dir/layers.d"
path=\${LD_LIBRARY_PATH:+\$LD_LIBRARY_PATH:}\$libs:/usr/local/lib:/usr/lib/$triplet:/lib/$triplet:/usr/lib64:/usr/lib
exec '$loader' --library-path "\$path" \${VKATTN_PRELOAD:+--preload "\$VKATTN_PRELOAD"} --argv0 "\$program" "\$program" "\$@"
LAUNCHER
  local tool
  for tool in glslc glslangValidator glslang spirv-val spirv-opt spirv-dis spirv-as spirv-cross vulkaninfo; do
    [[ -e $dir/usr/bin/$tool ]] || continue
    printf '#!/bin/sh\nexec %s %s "$@"\n' "'$dir/bin/run-private'" "'$dir/usr/bin/$tool'" >"$dir/bin/$tool"
  done
  chmod +x "$dir"/bin/*
}

install_private() {
  local apt new triplet libs loader drivers package_stamp
  package_stamp=$(printf '%s\n' "$suite" "$never" "${packages[@]}" | sha256sum)
  if [[ $(cat "$dir/.packages" 2>/dev/null) != "$package_stamp" ]]; then
    new=$dir.new apt=$dir.apt
    rm -rf "$new" "$apt" "$dir.old"
    trap 'rm -rf "$dir.new" "$dir.apt"' EXIT # nothing half-made stays
    mkdir -p "$new"
    unpack_packages
    unpack_swiftshader
    printf '%s\n' "$package_stamp" >"$new/.packages"
    [[ ! -e $dir ]] || mv "$dir" "$dir.old"
    mv "$new" "$dir"
    rm -rf "$dir.old" "$apt"
  fi
  # The C library's package says where this architecture's libraries are.
  loader=$(find "$dir"/usr/lib/*-linux-gnu* -maxdepth 1 -name 'ld-linux*.so.*' | head -n 1)
  [[ -n $loader ]] || fail "no loader under $dir/usr/lib: this architecture is not known here"
  libs=$(dirname "$loader") triplet=$(basename "$(dirname "$loader")")
  write_manifests
  drivers=$(find "$dir/icd.d" -name lavapipe.json -o -name swiftshader.json | sort | paste -sd:)
  link_headers
  write_launchers
  "$dir/bin/glslc" --version >/dev/null || fail "the unpacked glslc does not start; delete $dir and run this again"
}

# ---- other ways ----------------------------------------------------------------------------------------------------

at_least() { # at_least HAVE FLOOR
  [[ -n $1 && $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]
}

# The floors of third_party/README.md, asked of what is installed.
system_is_new_enough() {
  local name
  command -v glslc >/dev/null && command -v pkg-config >/dev/null || return 1
  at_least "$(pkg-config --modversion vulkan 2>/dev/null)" 1.4.311 || return 1
  at_least "$(pkg-config --modversion shaderc 2>/dev/null)" 2025.2 || return 1
  for name in xxhash.h CLI/CLI.hpp nlohmann/json.hpp doctest/doctest.h; do
    echo "#include <$name>" | g++ -std=c++20 -fsyntax-only -x c++ - 2>/dev/null || return 1
  done
}

install_pinned() {
  ((EUID == 0)) || fail "--system needs root"
  command -v apt-get >/dev/null || fail "--system is for Debian"
  local source=/etc/apt/sources.list.d/vkattn.list pin=/etc/apt/preferences.d/vkattn
  say "adding Debian $suite in $source, pinned below the system's own in $pin"
  apt_install debian-archive-keyring
  echo "deb ${VKATTN_DEBIAN_SOURCE_OPTIONS:+[$VKATTN_DEBIAN_SOURCE_OPTIONS] }$mirror $suite main" >"$source"
  printf 'Package: *\nPin: release n=%s\nPin-Priority: 100\n' "$suite" >"$pin"
  if ! apt-get -qq -o APT::Update::Error-Mode=any update; then
    rm -f "$source" "$pin"
    fail "that source cannot be read, so it was removed again (if its release file has expired because the mirror is kept
         at a fixed date: VKATTN_DEBIAN_SOURCE_OPTIONS=check-valid-until=no third_party/install.sh --system)"
  fi
  # Two releases apart, OpenSSL's packages overlap in one file without saying so.
  DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends -o Dpkg::Options::=--force-overwrite \
    -t "$suite" install "${packages[@]}"
}

# ---- main ----------------------------------------------------------------------------------------------------------

mkdir -p "$(dirname "$dir")"
if command -v flock >/dev/null; then # a second run waits for the first
  exec 9>"$dir.lock"
  flock 9
fi

mapfile -t wanted_tools < <(missing_tools)
if ((${#wanted_tools[@]})); then
  command -v apt-get >/dev/null || {
    names_elsewhere
    fail "missing here: ${wanted_tools[*]}; the names above are this list's on other systems"
  }
  apt_install "${wanted_tools[@]}"
fi

stamp=$(sha256sum <"$self")
if [[ $mode == auto && $(cat "$dir/.stamp" 2>/dev/null) == "$stamp $dir" ]]; then exit 0; fi

if [[ $mode == system ]]; then
  install_pinned
elif system_is_new_enough; then
  say "this system's own packages are new enough; no private folder is needed"
  mkdir -p "$dir"
  printf '%s\n' "$stamp $dir" >"$dir/.stamp"
elif command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then
  install_private
  printf '%s\n' "$stamp $dir" >"$dir/.stamp"
  say "done: $dir ($(du -sh "$dir" | cut -f1))"
else
  say "this is no Debian and its Vulkan headers, shaderc or header libraries are missing or too old:"
  names_elsewhere
  fail "install these and run this again"
fi
