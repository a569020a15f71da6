// One function from (capabilities, problem, hook) to the choices of a plan. Ledger: docs/tuning.md.
#pragma once

#include "engine_impl.h"

namespace vkattn {

struct Choice {
    Path path = Path::scalar;
    Skeleton skeleton = Skeleton::rows;
    Schedule schedule = Schedule::dense;
    Addressing addressing = Addressing::binding;
    bool subgroup_reduce = false;
    bool widen = false;
    uint32_t subgroup_size = 0;  // required of the pipeline; 0: the driver chooses
    uint32_t workgroup_size = 64;
    uint32_t tile_rows = 64;
    uint32_t heads_per_tile = 1;
    uint32_t step_keys = 8;
    uint32_t threads_x = 8;
    uint32_t micro_rows = 2;
    uint32_t micro_cols = 4;
    uint64_t shared_bytes = 0;  // of a workgroup, as far as it depends on these; rows: 0
    uint32_t splits = 1;
    MatrixShape matrix;   // Path::khr
    uint32_t lanes = 32;  // of a subgroup, which the kernel is told
    uint32_t qk_chunk = 64;
    uint32_t value_chunk = 64;
    bool literal_sizes = false;  // compiled in instead of specialized
    double gflops_estimate = 1.0;
    std::string why;
};

// Flat tiles of a problem at its bounds, and workgroups of a tile (tile_rows.glsl, attention_decode.comp).
uint64_t count_tiles(const Problem& problem, const Choice& choice);
uint32_t parts_of_tile(const Choice& choice);

// Where the widened k and v of a problem lie at its upper bounds.
WideRegion wide_region(const Problem& problem);

// Bytes of the splits' partials at the bounds (partials.glsl).
uint64_t partials_bytes(const Problem& problem, const Choice& choice);

// Why this device cannot run the decode skeleton; empty: it can.
std::string decode_obstacle(const Capabilities& capabilities);
// Whether `automatic` takes it.
bool prefers_decode(const Capabilities& capabilities, const Problem& problem, const Choice& choice);
void tune_decode(const Capabilities& capabilities, const Problem& problem, Choice& choice);
// After tiles are settled.
Status choose_splits(const Capabilities& capabilities, const Problem& problem, Choice& choice);

// Whether the matrix units can compute the problem by `path`, khr or nv, and if so how. Errors: Code::unsupported with the reason.
Status tune_matrix(const Capabilities& capabilities, const Problem& problem, Path path, Choice& choice);

// Errors: Code::unsupported with the reason when an explicit request cannot be met; nothing falls back silently. `decode_shipped`:
// whether `automatic` may take the decode skeleton, whose modules are built ahead of time for fewer masks.
Result<Choice> choose(const Capabilities& capabilities, const Problem& problem, const EmittedHook& hook,
                      bool decode_shipped = true);

}  // namespace vkattn
