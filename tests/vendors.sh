#!/usr/bin/env bash
# The engine's pipelines through the compilers of GPUs that are not here. Mesa's real drivers run on pretended kernel drivers
# (Debian's mesa-drm-shim): real limits, features, code and register counts; nothing is computed. tests/vendors/ has the program.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# key | what it stands for | Mesa's driver | pretended kernel driver (a shim, or tests/vendors/pretend_*.cpp) | its choice of GPU | driver name | in --quick
devices=(
  "navi10|AMD RDNA 1|radeon|amdgpu|AMDGPU_GPU_ID=navi10|radv|"
  "navi21|AMD RDNA 2|radeon|amdgpu|AMDGPU_GPU_ID=navi21|radv|"
  "navi31|AMD RDNA 3|radeon|amdgpu|AMDGPU_GPU_ID=navi31|radv|quick"
  "navi33|AMD RDNA 3|radeon|amdgpu|AMDGPU_GPU_ID=navi33|radv|"
  "gfx1201|AMD RDNA 4|radeon|amdgpu|AMDGPU_GPU_ID=gfx1201|radv|"
  "volta|NVIDIA Volta|nouveau|nouveau|NOUVEAU_CHIPSET=140|NVK|"
  "turing|NVIDIA Turing|nouveau|nouveau|NOUVEAU_CHIPSET=162|NVK|"
  "ampere|NVIDIA Ampere|nouveau|nouveau|NOUVEAU_CHIPSET=172|NVK|quick"
  "ada|NVIDIA Ada|nouveau|newer_nvidia|NOUVEAU_CHIPSET=172 PRETEND_NVIDIA=ada|NVK|"
  "blackwell|NVIDIA Blackwell|nouveau|newer_nvidia|NOUVEAU_CHIPSET=172 PRETEND_NVIDIA=blackwell|NVK|"
  "adreno618|Qualcomm Adreno 618|freedreno|freedreno|FD_GPU_ID=618|turnip|"
  "adreno630|Qualcomm Adreno 630|freedreno|freedreno|FD_GPU_ID=630|turnip|"
  "adreno660|Qualcomm Adreno 660|freedreno|freedreno|FD_GPU_ID=660|turnip|quick"
  "adreno730|Qualcomm Adreno 730|freedreno|freedreno|FD_GPU_ID=730|turnip|"
  "adreno740|Qualcomm Adreno 740|freedreno|freedreno|FD_GPU_ID=740|turnip|"
  "adreno750|Qualcomm Adreno 750|freedreno|freedreno|FD_GPU_ID=750|turnip|"
  "m1|Apple M1|asahi|asahi||Honeykrisp|quick"
  "tgl|Intel Tiger Lake|intel|intel|PRETEND_INTEL=tgl|Intel|"
  "adl|Intel Alder Lake|intel|intel|PRETEND_INTEL=adl|Intel|"
  "mtl|Intel Meteor Lake|intel|intel|PRETEND_INTEL=mtl|Intel|"
  "arl|Intel Arrow Lake|intel|intel|PRETEND_INTEL=arl|Intel|"
  "dg2|Intel Arc A770|intel|intel|PRETEND_INTEL=dg2|Intel|"
  "lnl|Intel Lunar Lake|intel|intel|PRETEND_INTEL=lnl|Intel|"
  "bmg|Intel Arc B580|intel|intel|PRETEND_INTEL=bmg|Intel|quick"
  "ptl|Intel Panther Lake|intel|intel|PRETEND_INTEL=ptl|Intel|"
)
columns=device,kernel,type,d,dv,mask,score,workgroup,tile_rows,micro_rows,step_keys,schedule,subgroup,registers,spills,scratch_bytes,shared_bytes,occupancy,instructions,matrix_instructions,create_ms,mesa,case

usage() {
  cat <<USAGE
usage: tests/vendors.sh [--quick] [--device KEY]... [--replay 'CASE'] [--try 'NAME=N ...'] [--docs] [--list] [--help]

Compiles every pipeline of a table of problems for a table of devices and holds them against tests/vendors/budgets.h, and where
tests/vendors/expectations.h knows this version of Mesa, against that.
Results: build/vendors/pipelines.csv and .html, the logs beside them (with --replay or --try: build/vendors/try/).

  --quick          one device per compiler back end
  --device KEY     only this device (repeatable); --list prints the keys
  --replay 'CASE'  only this case, as a failure prints it
  --try 'NAME=N ...'  with other specialization constants than the engine's (names of shaders/include/spec_constants.h) or a
                   required subgroup size ("subgroup=16"): what another choice of tiles would cost
  --docs           also put the devices that passed into docs/devices/ and docs/devices.md
USAGE
}

say() { printf 'vendors: %s\n' "$*"; }
skip() {
  say "SKIPPED: $*"
  exit 0
}

field() { cut -d'|' -f"$2" <<<"$1"; }

quick=no docs=no replay='' tried='' chosen=()
while (($#)); do
  case $1 in
    --quick) quick=yes ;;
    --docs) docs=yes ;;
    --device | --replay | --try)
      (($# > 1)) || { usage >&2; exit 2; }
      case $1 in --device) chosen+=("$2") ;; --replay) replay=$2 ;; --try) tried=$2 ;; esac
      shift
      ;;
    --list)
      for device in "${devices[@]}"; do printf '%-10s %s\n' "$(field "$device" 1)" "$(field "$device" 2)"; done
      exit 0
      ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; echo "vendors: unknown option $1" >&2; exit 2 ;;
  esac
  shift
done

if [[ $docs == yes && -n "$replay$tried" ]]; then
  echo "vendors: --docs is for the whole table of problems" >&2
  exit 2
fi

selected=()
for device in "${devices[@]}"; do
  key=$(field "$device" 1)
  if ((${#chosen[@]})); then [[ " ${chosen[*]} " == *" $key "* ]] || continue
  elif [[ $quick == yes ]]; then [[ $(field "$device" 7) == quick ]] || continue; fi
  selected+=("$device")
done
((${#selected[@]} > 0 && (${#chosen[@]} == 0 || ${#selected[@]} == ${#chosen[@]}))) || {
  echo "vendors: no such device: ${chosen[*]}; --list prints them" >&2
  exit 2
}

# ---- what is needed ------------------------------------------------------------------------------------------------

# third_party/install.sh unpacks drivers and shims into build/deps, except where the system's own packages are new enough.
deps=build/deps
find_shims() { find -L "$1/usr/lib" -name 'lib*_noop_drm_shim.so' 2>/dev/null | head -n 1 || true; }
[[ -n $(find_shims "$deps") ]] || third_party/install.sh || skip "third_party/install.sh could not bring Mesa's drivers"
shim=$(find_shims "$deps")
[[ -n $shim ]] || skip "there is no mesa-drm-shim here; it comes with third_party/install.sh on Debian"
shims=$(realpath "$(dirname "$shim")")
drivers=$(realpath "$deps/icd.d")
launcher=$(realpath "$deps/bin/run-private")

if [[ -f build/CMakeCache.txt ]]; then cmake build >/dev/null; else cmake --preset release >/dev/null; fi
targets=(vkattn-test-vendors)
[[ $docs == no ]] || targets+=(vkattn-devices)
cmake --build build --target "${targets[@]}"
program=build/libexec/vkattn-test-vendors

# ---- the devices ---------------------------------------------------------------------------------------------------

made=$PWD/build/vendors out=$PWD/build/vendors
[[ -z $tried$replay ]] || out=$made/try # beside the whole table's results, not over them
mkdir -p "$made/modules" "$made/run" "$out"

# What no package has: tests/vendors/pretend_NAME.cpp, built with the kernel interface's headers out of libdrm-dev.
make_pretended() {
  local include=/usr/include library=$made/libpretend_$1.so source=tests/vendors/pretend_$1.cpp
  [[ $library -ot $source ]] || return 0
  if [[ ! -e $include/libdrm/i915_drm.h ]]; then
    include=$made/libdrm/usr/include
    if [[ ! -e $include/libdrm/i915_drm.h ]]; then
      mkdir -p "$made/libdrm"
      (cd "$made/libdrm" && apt-get -qq download libdrm-dev && dpkg-deb -x libdrm-dev*.deb .) >/dev/null 2>&1 || return 1
    fi
  fi
  "${CXX:-c++}" -std=c++20 -O1 -Wall -Wextra -Werror -shared -fPIC -isystem "$include" -isystem "$include/libdrm" "$source" -o "$library"
}
for name in intel newer_nvidia; do
  [[ " ${selected[*]} " != *"|$name|"* ]] || make_pretended "$name" || say "pretend_$name.cpp cannot be built: libdrm-dev's headers cannot be had"
done

run_device() { # run_device LINE: 0 passed, 1 failed, 77 not had
  local key driver shim choice name log
  key=$(field "$1" 1) driver=$(field "$1" 3) shim=$(field "$1" 4) choice=$(field "$1" 5) name=$(field "$1" 6)
  log=$out/$key.log
  rm -f "$out/$key.csv" "$out/$key.json"
  local preload icd=$drivers/${driver}_icd.json
  case $shim in
    intel) preload=$made/libpretend_intel.so ;;
    newer_nvidia) preload=$made/libpretend_newer_nvidia.so:$shims/libnouveau_noop_drm_shim.so ;;
    *) preload=$shims/lib${shim}_noop_drm_shim.so ;;
  esac
  [[ -e ${preload%%:*} && -e ${preload##*:} && -e $icd ]] || { echo "no $driver driver or no shim for it" >"$log"; return 77; }
  local environment=(MESA_SHADER_CACHE_DISABLE=true NODEVICE_SELECT=1 XDG_RUNTIME_DIR="$made/run"
    VKATTN_PRELOAD="$preload" VK_DRIVER_FILES="$icd" NVK_I_WANT_A_BROKEN_VULKAN_DRIVER=1)
  # shellcheck disable=SC2206 # one word a variable
  environment+=($choice)
  if ! env "${environment[@]}" "$launcher" "$(dirname "$launcher")/../usr/bin/vulkaninfo" --summary >"$log" 2>&1; then
    return 77
  fi
  env "${environment[@]}" VKATTN_TEST_DEVICE="$name" VKATTN_VENDORS_KEY="$key" VKATTN_VENDORS_OUT="$out" \
    VKATTN_VENDORS_NAME="$(field "$1" 2)" \
    VKATTN_VENDORS_CACHE="$made/modules" ${replay:+VKATTN_REPLAY="$replay"} \
    ${tried:+VKATTN_VENDORS_TRY="$tried"} \
    timeout 600 "$launcher" "$program" >"$log" 2>&1 && return 0
  local status=$?
  # A crash, not a failed check: the last case is the one.
  if ((status > 1)) && ! grep -q '^\[doctest\] Status' "$log"; then
    echo "the driver ended the program (status $status); replay: tests/vendors.sh --device $key --replay" \
      "'$(grep '^case: ' "$log" | tail -n 1 | cut -c7-)'" >>"$log"
  fi
  return 1
}

start=$SECONDS failed=() missing=() reports=() passed=0
for device in "${selected[@]}"; do
  key=$(field "$device" 1) begin=$SECONDS status=0
  run_device "$device" || status=$?
  case $status in
    0) passed=$((passed + 1)) reports+=("$out/$key.json") result="passed, $(wc -l <"$out/$key.csv") pipelines" ;;
    77) missing+=("$key") result="SKIPPED, this Mesa does not pretend to have it" ;;
    *) failed+=("$key") result="FAILED" ;;
  esac
  say "$(printf '%-10s %-22s %3d s  %s' "$key" "$(field "$device" 2)" $((SECONDS - begin)) "$result")"
  [[ $result != FAILED ]] || grep -E 'replay:|ERROR:|values:|logged:|Validation|the driver ended' "$out/$key.log" | sed -n 's/^/    /; 1,12p'
done

# ---- the tables ----------------------------------------------------------------------------------------------------

tables=()
for device in "${selected[@]}"; do
  [[ ! -s $out/$(field "$device" 1).csv ]] || tables+=("$out/$(field "$device" 1).csv")
done
((${#tables[@]})) || skip "none of the devices can be had with this Mesa"
{ echo "$columns"; cat "${tables[@]}"; } >"$out/pipelines.csv"
awk -F, -f tests/vendors/page.awk "$out/pipelines.csv" >"$out/pipelines.html"
[[ $docs == no || ${#reports[@]} == 0 ]] || build/bin/vkattn-devices "${reports[@]}"
grep -hs '^no expectations' "${tables[@]/%.csv/.log}" | sort -u | sed 's/^/vendors: /' || true
say "$passed of ${#selected[@]} devices passed, ${#missing[@]} skipped, in $((SECONDS - start)) s; ${out#"$PWD/"}/pipelines.csv, pipelines.html"
((${#failed[@]} == 0)) || { say "FAILED: ${failed[*]} (logs: ${out#"$PWD/"}/<device>.log)"; exit 1; }
