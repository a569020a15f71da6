// A kernel and sizes that somebody else chose, a problem's wish or a tuning table's line: held against what plan() would hold its own
// against, the kernels' rules and the device's limits. Nothing is taken on trust, since a table is a file.
#include <algorithm>
#include <bit>

#include "tuning.h"

namespace vkattn {
namespace {

// Drivers' compile time grows with the square of what a loop over keys unrolls (ledger T1).
constexpr uint32_t max_unrolled = 8192;
constexpr uint32_t long_q_len = 128;

Status wrong(const char* name, uint32_t value, const std::string& right) {
    return error(Code::invalid_argument,
                 std::string(name) + " is " + std::to_string(value) + "; " + right + " would be right");
}

bool is_power(uint32_t value, uint32_t least, uint32_t most) {
    return std::has_single_bit(value) && value >= least && value <= most;
}

Status check_workgroup(const Capabilities& capabilities, const KernelSizes& sizes) {
    if (is_power(sizes.workgroup_size, 1, std::min(capabilities.max_invocations, 1024u))) return {};
    return wrong("workgroup_size", sizes.workgroup_size,
                 "a power of two up to the device's " + std::to_string(capabilities.max_invocations));
}

Status check_subgroup(const Capabilities& capabilities, const KernelSizes& sizes) {
    const uint32_t size = sizes.subgroup_size;
    if (size == 0) return {};
    if (capabilities.max_subgroup_size == 0) return wrong("subgroup_size", size, "0, since this device requires none,");
    if (!is_power(size, capabilities.min_subgroup_size, capabilities.max_subgroup_size))
        return wrong("subgroup_size", size,
                     "a power of two from the device's " + std::to_string(capabilities.min_subgroup_size) + " to " +
                         std::to_string(capabilities.max_subgroup_size));
    if (sizes.workgroup_size % size != 0 || sizes.workgroup_size / size > capabilities.max_workgroup_subgroups)
        return wrong("workgroup_size", sizes.workgroup_size,
                     "one to " + std::to_string(capabilities.max_workgroup_subgroups) + " subgroups of " +
                         std::to_string(size));
    return {};
}

Status check_unrolled(const char* name, uint32_t value, uint32_t most, const Problem& problem) {
    const auto dims = static_cast<uint32_t>(problem.head_dim + problem.value_dim);
    const uint32_t limit = std::min(most, std::max(max_unrolled / dims, 1u));
    if (value >= 1 && value <= limit) return {};
    return wrong(name, value, "1 to " + std::to_string(limit) + " (with these dims)");
}

uint32_t group_of(const Problem& problem) {
    return static_cast<uint32_t>(problem.max_shape.q_heads / problem.max_shape.kv_heads);
}

Status take_rows(const Capabilities& capabilities, const Problem& problem, const KernelSizes& sizes, Choice& choice) {
    tune_rows(capabilities, problem, choice);
    if (Status status = check_unrolled("step_keys", sizes.step_keys, 16, problem); !status.ok()) return status;
    if (!is_power(sizes.heads_per_tile, 1, sizes.workgroup_size) || group_of(problem) % sizes.heads_per_tile != 0)
        return wrong("heads_per_tile", sizes.heads_per_tile,
                     "a power of two that divides the " + std::to_string(group_of(problem)) +
                         " query heads a key head and is at most workgroup_size");
    if (sizes.heads_per_tile > 1 && choice.addressing == Addressing::binding)
        return wrong("heads_per_tile", sizes.heads_per_tile, "1, through descriptors,");
    choice.workgroup_size = choice.tile_rows = sizes.workgroup_size;
    choice.heads_per_tile = sizes.heads_per_tile;
    choice.step_keys = sizes.step_keys;
    return {};
}

// What attention_tiles.comp's head asks for.
Status take_tiles(const Capabilities& capabilities, const Problem& problem, const KernelSizes& sizes, Choice& choice) {
    if (Status status = tune_tiles(capabilities, problem, choice); !status.ok()) return status;
    const uint32_t rows = sizes.micro_rows, cols = sizes.micro_cols, keys = sizes.threads_x * cols;
    if (!is_power(sizes.threads_x, 2, std::min(sizes.workgroup_size, 32u)))
        return wrong("threads_x", sizes.threads_x, "a power of two from 2 to 32 that is at most workgroup_size");
    if (rows != 1 && rows != 2 && rows != 4 && rows != 8) return wrong("micro_rows", rows, "1, 2, 4 or 8");
    if (cols < 1 || rows * cols > 32) return wrong("micro_cols", cols, "1 to " + std::to_string(32 / rows));
    if (sizes.step_keys < 1 || keys % sizes.step_keys != 0)
        return wrong("step_keys", sizes.step_keys, "a divisor of the tile's " + std::to_string(keys) + " keys");
    if (sizes.workgroup_size / sizes.threads_x * rows % 4 != 0)
        return wrong("workgroup_size", sizes.workgroup_size, "one that gives a tile a multiple of four rows");
    choice.workgroup_size = sizes.workgroup_size;
    choice.subgroup_size = sizes.subgroup_size;
    choice.threads_x = sizes.threads_x;
    choice.micro_rows = rows;
    choice.micro_cols = cols;
    choice.step_keys = sizes.step_keys;
    settle_tiles(capabilities, problem, choice);
    if (sizes.subgroup_size != 0 && !choice.subgroup_reduce)
        return wrong("subgroup_size", sizes.subgroup_size,
                     "0, or at least threads_x on a device with subgroup shuffles,");
    return {};
}

Status take_decode(const Capabilities& capabilities, const Problem& problem, const KernelSizes& sizes, Choice& choice) {
    if (const std::string obstacle = decode_obstacle(capabilities); !obstacle.empty())
        return error(Code::unsupported, "no decode skeleton: " + obstacle);
    tune_decode(capabilities, problem, choice);
    const uint32_t subgroup = sizes.subgroup_size != 0 ? sizes.subgroup_size : capabilities.subgroup_size;
    if (sizes.workgroup_size % subgroup != 0)
        return wrong("workgroup_size", sizes.workgroup_size,
                     "a multiple of the subgroup's " + std::to_string(subgroup));
    if (!is_power(sizes.threads_x, 2, std::min(subgroup, 32u)))
        return wrong("threads_x", sizes.threads_x,
                     "a power of two from 2 to " + std::to_string(std::min(subgroup, 32u)));
    const uint32_t least_keys = capabilities.software ? sizes.threads_x : 2;
    if (!is_power(sizes.step_keys, least_keys, sizes.threads_x))
        return wrong("step_keys", sizes.step_keys,
                     "a power of two from " + std::to_string(least_keys) + " to threads_x");
    if (capabilities.software && sizes.workgroup_size != sizes.threads_x)
        return wrong("workgroup_size", sizes.workgroup_size, "threads_x, on a software device,");
    if (Status status = check_unrolled("tile_rows", sizes.tile_rows, 16, problem); !status.ok()) return status;
    if (sizes.heads_per_tile < 1 || sizes.heads_per_tile > group_of(problem) ||
        sizes.tile_rows % sizes.heads_per_tile != 0)
        return wrong("heads_per_tile", sizes.heads_per_tile,
                     "a divisor of tile_rows up to the " + std::to_string(group_of(problem)) +
                         " query heads a key head");
    const uint32_t head_rows = sizes.tile_rows / sizes.heads_per_tile;
    const auto block_q = static_cast<uint32_t>(problem.block_q);
    if (choice.schedule == Schedule::list && block_q % head_rows != 0 &&
        (static_cast<uint32_t>(problem.max_shape.q_len) > head_rows || head_rows > block_q))
        return wrong("tile_rows", sizes.tile_rows, "queries that divide Problem::block_q " + std::to_string(block_q));
    choice.workgroup_size = sizes.workgroup_size;
    choice.subgroup_size = sizes.subgroup_size;
    choice.threads_x = sizes.threads_x;
    choice.step_keys = sizes.step_keys;
    choice.tile_rows = sizes.tile_rows;
    choice.heads_per_tile = sizes.heads_per_tile;
    return {};
}

Status take_scalar(const Capabilities& capabilities, const Problem& problem, const KernelSizes& sizes, Choice& choice) {
    choice.skeleton = sizes.skeleton;
    if (sizes.widen) {
        if (const std::string obstacle = widen_obstacle(capabilities, problem, choice); !obstacle.empty())
            return error(Code::limit_exceeded, "no widening: " + obstacle);
        choice.widen = true;
    }
    switch (sizes.skeleton) {
    case Skeleton::rows: return take_rows(capabilities, problem, sizes, choice);
    case Skeleton::tiles: return take_tiles(capabilities, problem, sizes, choice);
    case Skeleton::decode: return take_decode(capabilities, problem, sizes, choice);
    case Skeleton::automatic: break;
    }
    return error(Code::invalid_argument, "the skeleton is auto; the scalar path has rows, tiles and decode");
}

// An explicit wish of the problem's goes first.
Status check_wishes(const Problem& problem, const KernelSizes& sizes) {
    const auto against = [](const char* wish, std::string_view wished, std::string_view sized) {
        return error(Code::invalid_argument,
                     std::string(wish) + " is " + std::string(wished) + ", these are sizes for " + std::string(sized));
    };
    if (problem.path != Path::automatic && problem.path != sizes.path)
        return against("Problem::path", to_string(problem.path), to_string(sizes.path));
    if (problem.skeleton != Skeleton::automatic && problem.skeleton != sizes.skeleton)
        return against("Problem::skeleton", to_string(problem.skeleton), to_string(sizes.skeleton));
    if (problem.widen != Widen::automatic && (problem.widen == Widen::on) != sizes.widen)
        return against("Problem::widen", to_string(problem.widen), sizes.widen ? "on" : "off");
    if (problem.splits != 0 && sizes.splits != 0 && static_cast<uint32_t>(problem.splits) != sizes.splits)
        return against("Problem::splits", std::to_string(problem.splits), std::to_string(sizes.splits));
    return {};
}

}  // namespace

TuningKey tuning_key(const Problem& problem, const EmittedHook& hook, const Choice& choice) {
    const Shape& s = problem.max_shape;
    TuningKey key;
    key.q_type = problem.q_type;
    key.k_type = problem.k_type;
    key.v_type = problem.v_type;
    key.o_type = problem.o_type;
    key.q_aligned = problem.q_aligned;
    key.k_aligned = problem.k_aligned;
    key.v_aligned = problem.v_aligned;
    key.o_aligned = problem.o_aligned;
    key.head_dim = problem.head_dim;
    key.value_dim = problem.value_dim;
    key.path = problem.path;
    key.schedule = choice.schedule;
    key.addressing = choice.addressing;
    key.mask = hook.has_mask;
    key.score_mod = hook.has_score_mod;
    key.q_len = std::min(std::bit_floor(static_cast<uint32_t>(s.q_len)), long_q_len);
    if (key.q_len == long_q_len) return key;
    key.group = group_of(problem);
    key.kv_len = std::bit_floor(static_cast<uint32_t>(s.kv_len));
    const uint64_t kv_heads = static_cast<uint64_t>(s.batch) * static_cast<uint64_t>(s.kv_heads);
    key.kv_heads = static_cast<uint32_t>(std::bit_floor(std::min<uint64_t>(kv_heads, 1u << 30)));
    return key;
}

KernelSizes sizes_of(const Choice& choice, const TuningKey& key) {
    KernelSizes sizes;
    sizes.path = choice.path;
    sizes.skeleton = choice.path == Path::scalar ? choice.skeleton : Skeleton::automatic;
    sizes.widen = choice.widen;
    sizes.workgroup_size = choice.workgroup_size;
    if (key.q_len < long_q_len) sizes.splits = choice.splits;
    if (choice.path != Path::scalar) {
        sizes.subgroup_size = choice.subgroup_size;
        sizes.tile_rows = choice.tile_rows;
        sizes.step_keys = choice.step_keys;
        sizes.matrix_m = choice.matrix.m;
        sizes.matrix_n = choice.matrix.n;
        sizes.matrix_k = choice.matrix.k;
        sizes.workgroup_matrices = choice.workgroup_matrices;
        return sizes;
    }
    switch (choice.skeleton) {
    case Skeleton::automatic: break;
    case Skeleton::rows:
        sizes.heads_per_tile = choice.heads_per_tile;
        sizes.step_keys = choice.step_keys;
        break;
    case Skeleton::tiles:
        sizes.subgroup_size = choice.subgroup_size;
        sizes.threads_x = choice.threads_x;
        sizes.micro_rows = choice.micro_rows;
        sizes.micro_cols = choice.micro_cols;
        sizes.step_keys = choice.step_keys;
        break;
    case Skeleton::decode:
        sizes.subgroup_size = choice.subgroup_size;
        sizes.threads_x = choice.threads_x;
        sizes.step_keys = choice.step_keys;
        sizes.tile_rows = choice.tile_rows;
        sizes.heads_per_tile = choice.heads_per_tile;
        break;
    }
    return sizes;
}

Status take_sizes(const Capabilities& capabilities, const Problem& problem, const KernelSizes& sizes, Choice& choice) {
    if (Status status = check_wishes(problem, sizes); !status.ok()) return status;
    if (Status status = check_workgroup(capabilities, sizes); !status.ok()) return status;
    if (Status status = check_subgroup(capabilities, sizes); !status.ok()) return status;
    switch (sizes.path) {
    case Path::automatic: return error(Code::invalid_argument, "the path is auto; scalar, khr or nv has sizes");
    case Path::scalar:
        if (Status status = take_scalar(capabilities, problem, sizes, choice); !status.ok()) return status;
        break;
    case Path::khr:
    case Path::nv:
        if (Status status = take_matrix_sizes(capabilities, problem, sizes, choice); !status.ok()) return status;
        choice.path = sizes.path;
        break;
    }
    if (sizes.splits > max_splits)
        return wrong("splits", sizes.splits, "0 (as the plan chooses) to " + std::to_string(max_splits));
    if (Status status = choose_splits(capabilities, problem,
                                      sizes.splits != 0 ? static_cast<int32_t>(sizes.splits) : problem.splits, choice);
        !status.ok())
        return status;
    if (choice.shared_bytes > capabilities.max_shared_bytes)
        return error(Code::unsupported, "a workgroup takes " + std::to_string(choice.shared_bytes) +
                                            " bytes of shared memory, the device has " +
                                            std::to_string(capabilities.max_shared_bytes));
    if (count_tiles(problem, choice) > 0xffffffffull / parts_of_tile(choice))
        return error(Code::limit_exceeded, "tiles of these sizes are more than 2^32");
    // What was not taken over is a size that this kernel does not have.
    KernelSizes taken = sizes_of(choice, choice.key);
    taken.splits = sizes.splits;
    if (taken != sizes)
        return error(Code::invalid_argument, "'" + to_text(sizes) +
                                                 "' has a size that this kernel lacks; it would have been '" +
                                                 to_text(taken) + "'");
    return {};
}

}  // namespace vkattn
