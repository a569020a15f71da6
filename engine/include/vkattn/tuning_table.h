// Sizes of kernels: what plan() chooses by itself, what a problem may ask for, and tables of those that were measured to be faster
// on one device. A table comes from `vkattn tune`, or from a host's own measurements with Engine::neighbours; the host reads the
// file and hands it in (EngineOptions::tuning). Without one nothing is tuned, and nothing ever is by itself.
//
//   auto table = parse_tuning_table(text);                                            // checked: hostile text is an error
//   auto engine = Engine::create(host, {.tuning = std::make_shared<TuningTable>(*table)});
//   plan->report().tuning                                                             // whether it was used, or why not
//
// A table changes speed, never what is computed: every entry is held against the device's limits and the kernel's rules when it is
// used, and one that does not fit is left out with a reason.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "vkattn/result.h"
#include "vkattn/types.h"

namespace vkattn {

struct Capabilities;

// A kernel and its sizes. Those that a kernel does not have are 0 (spec_constants.h says what each means):
//   rows    workgroup_size, heads_per_tile, step_keys
//   tiles   workgroup_size, subgroup_size, threads_x, micro_rows, micro_cols, step_keys
//   decode  workgroup_size, subgroup_size, threads_x, step_keys, tile_rows, heads_per_tile
//   matrix  workgroup_size, subgroup_size, tile_rows, step_keys, matrix_m, matrix_n, matrix_k
struct KernelSizes {
    Path path = Path::scalar;            // scalar, khr or nv
    Skeleton skeleton = Skeleton::rows;  // of the scalar path; automatic for khr and nv
    bool widen = false;                  // Problem::widen
    uint32_t splits = 0;                 // Problem::splits; 0: as plan() chooses for the rest
    uint32_t workgroup_size = 0;         // invocations
    uint32_t subgroup_size = 0;          // required of the pipeline; 0: the driver chooses
    uint32_t tile_rows = 0, heads_per_tile = 0;
    uint32_t step_keys = 0;
    uint32_t threads_x = 0, micro_rows = 0, micro_cols = 0;
    uint32_t matrix_m = 0, matrix_n = 0, matrix_k = 0;
    bool workgroup_matrices =
        false;  // of nv: a matrix is held by the workgroup instead of a subgroup; then matrix_m is tile_rows

    auto operator<=>(const KernelSizes&) const = default;
};
// "path=scalar skeleton=rows workgroup_size=64 heads_per_tile=1 step_keys=8"
std::string to_text(const KernelSizes& sizes);

// What problems have in common that take the same sizes.
struct TuningKey {
    ElementType q_type = ElementType::f32, k_type = ElementType::f32, v_type = ElementType::f32,
                o_type = ElementType::f32;
    bool q_aligned = true, k_aligned = true, v_aligned = true, o_aligned = true;
    int32_t head_dim = 0, value_dim = 0;  // D, Dv
    Path path = Path::automatic;          // that was asked for
    Schedule schedule = Schedule::dense;  // that was chosen
    Addressing addressing = Addressing::binding;
    bool mask = false, score_mod = false;
    // Query positions, rounded down to a power of two; 128 and more are one class, in which the next three are 0.
    uint32_t q_len = 0;
    uint32_t group = 0;     // query heads a key head
    uint32_t kv_len = 0;    // rounded down to a power of two
    uint32_t kv_heads = 0;  // of all batch entries, rounded down to a power of two

    auto operator<=>(const TuningKey&) const = default;
};
std::string to_text(const TuningKey& key);  // "q=f16 k=f16 v=f16 o=f16 aligned=qkvo d=128 dv=128 ..."

struct TunedSizes {
    KernelSizes sizes;
    uint32_t before_us = 0, after_us = 0;  // medians of plan()'s own choice and of these sizes, as measured; for people

    bool operator==(const TunedSizes&) const = default;
};

// Which device, driver and kernels a table is for. Times of others say nothing.
struct TuningIdentity {
    std::string device, driver;  // for people
    std::string device_key;      // pipelineCacheUUID, driver version, name, subgroup size
    std::string kernels;         // hash of all shaders' sources

    bool operator==(const TuningIdentity&) const = default;
};
TuningIdentity tuning_identity(const Capabilities& capabilities);
// Why a table is not for these capabilities; empty: it is.
std::string tuning_mismatch(const TuningIdentity& identity, const Capabilities& capabilities);

struct TuningTable {
    TuningIdentity identity;
    std::map<TuningKey, TunedSizes> entries;
};

// One line an entry, and a hash of all at the end, so that a file that was cut or damaged is told from a whole one.
std::string to_text(const TuningTable& table);
// Errors: Code::invalid_text names the line. At most 1 MiB.
Result<TuningTable> parse_tuning_table(std::string_view text);

}  // namespace vkattn
