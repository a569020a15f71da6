# docs/devices.md from what tests/vendors.sh left: <key>.device (name, driver, ...), then <key>.csv (a line a pipeline).
# -v kinds="key|what it stands for", a line each; -v missing="keys that this Mesa does not pretend to have".
BEGIN {
  count = split(kinds, lines, "\n")
  for (i = 1; i <= count; i++) {
    split(lines[i], words, "|")
    order[i] = words[1]
    kind[words[1]] = words[2]
  }
}
FILENAME ~ /\.device$/ {
  split($0, words, "|")
  key = words[1]
  name[key] = words[2]
  sub(/ +$/, "", name[key])
  driver[key] = words[3]
  subgroup[key] = words[4]
  shared[key] = words[5] / 1024
  next
}
{
  split($0, cells, ",")
  key = cells[1]
  pipelines[key]++
  if (cells[14] + 0 > registers[key]) registers[key] = cells[14] + 0
  if (cells[15] + 0 > 0 || cells[16] + 0 > 0) over[key]++
  if (cells[18] != "" && (!(key in occupancy) || cells[18] + 0 < occupancy[key])) occupancy[key] = cells[18] + 0
}
END {
  print "# Devices checked"
  print ""
  print "Written by `tests/vendors.sh --docs`. *Compiled* means: the vendor's Mesa driver, on a pretended kernel driver, gave its real"
  print "physical device, compiled every pipeline of the table of problems in `tests/vendors/compile_pipelines.cpp` (f32, f16 and bf16; D 64 to"
  print "576; full, causal, causal window within documents with soft-cap; prefill and decoding; block lists), and the whole host path"
  print "ran under the validation layer without a message. Nothing was computed there, and the vendors' own closed compilers are others."
  print "*Computed* are, in every run of `tests/run.sh`, lavapipe (subgroups of 4, 8 and 16) and SwiftShader (4)."
  print ""
  print "| device | as it calls itself | driver | by what means | subgroup | shared KiB | pipelines | most registers | least occupancy | over budget |"
  print "|---|---|---|---|---|---|---|---|---|---|"
  for (i = 1; i <= count; i++) {
    key = order[i]
    if (!(key in name)) {
      absent = absent (absent == "" ? "" : ", ") kind[key]
      continue
    }
    printf "| %s (`%s`) | %s | %s | compiled | %d | %d | %d | %s | %s | %s |\n", kind[key], key, name[key], driver[key], subgroup[key], \
           shared[key], pipelines[key], registers[key] ? registers[key] : "-", key in occupancy ? occupancy[key] : "-", over[key] + 0
  }
  print ""
  print "- Registers and occupancy in each driver's own unit: 32-bit registers and waves a SIMD (RADV), 32-bit and warps an SM (NVK),"
  print "  4 x 32-bit and waves a core (Turnip), 16-bit and invocations a core (Honeykrisp); ANV states registers for Panther Lake only."
  print "- Over budget: pipelines that spill or use scratch memory (`tests/vendors/budgets.h` allows none)."
  if (absent != "") print "- In the table of devices, but not to be had with this Mesa's pretended kernel drivers: " absent "."
}
