// One function from (capabilities, problem, hook, tuning table) to the choices of a plan. Ledger: docs/tuning.md.
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
    MatrixShape matrix;               // Path::khr and nv
    bool workgroup_matrices = false;  // Path::nv: the workgroup holds a matrix, not a subgroup
    uint32_t lanes = 32;              // invocations that hold a matrix
    uint32_t qk_chunk = 64;
    uint32_t value_chunk = 64;
    bool literal_sizes = false;  // compiled in instead of specialized
    double gflops_estimate = 1.0;
    std::string why;
    TuningKey key;
    bool by_table = false;  // these are the table's sizes
    std::string tuning;     // PlanReport::tuning
};

constexpr uint32_t max_splits = 1024;

// At any width of its vectors; of the other software devices none is known that is as fast.
inline bool is_lavapipe(const Capabilities& capabilities) {
    return capabilities.device.driver_id == VK_DRIVER_ID_MESA_LLVMPIPE;
}

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
// After tiles are settled. `asked`: as Problem::splits.
Status choose_splits(const Capabilities& capabilities, const Problem& problem, int32_t asked, Choice& choice);

void tune_rows(const Capabilities& capabilities, const Problem& problem, Choice& choice);
Status tune_tiles(const Capabilities& capabilities, const Problem& problem, Choice& choice);
// What follows from the tiles skeleton's sizes: rows, shared memory, and whether rows are reduced by shuffles.
void settle_tiles(const Capabilities& capabilities, const Problem& problem, Choice& choice);
// Why k and v cannot be widened, or not by a choice of ours; empty: they can.
std::string widen_obstacle(const Capabilities& capabilities, const Problem& problem, const Choice& choice);

// Whether the matrix units can compute the problem by `path`, khr or nv, and if so how. Errors: Code::unsupported with the reason.
Status tune_matrix(const Capabilities& capabilities, const Problem& problem, Path path, Choice& choice);

// The same with the given sizes instead of its own, as far as the kernels' rules and the device allow them.
Status take_matrix_sizes(const Capabilities& capabilities, const Problem& problem, const KernelSizes& sizes,
                         Choice& choice);

// After schedule and addressing are settled: what a tuning table calls the problem, a choice's sizes, and the way back. The latter
// fills in everything behind schedule and addressing, or says why these sizes cannot be.
TuningKey tuning_key(const Problem& problem, const EmittedHook& hook, const Choice& choice);
KernelSizes sizes_of(const Choice& choice, const TuningKey& key);
Status take_sizes(const Capabilities& capabilities, const Problem& problem, const KernelSizes& sizes, Choice& choice);
// Engine::neighbours.
std::vector<KernelSizes> neighbours_of(const Capabilities& capabilities, const Problem& problem,
                                       const EmittedHook& hook, const KernelSizes& from);

struct ChooseOptions {
    // Whether `automatic` and the table may take the decode skeleton, whose modules are built ahead of time for fewer masks.
    bool decode_shipped = true;
    const TuningTable* table = nullptr;
};

// Errors: Code::unsupported with the reason when an explicit request cannot be met; nothing falls back silently.
// A table's sizes that cannot be are left out; Choice::tuning says why.
Result<Choice> choose(const Capabilities& capabilities, const Problem& problem, const EmittedHook& hook,
                      const ChooseOptions& options = {});

}  // namespace vkattn
