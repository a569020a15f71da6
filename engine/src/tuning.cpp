#include "tuning.h"

#include <algorithm>
#include <bit>

#include "device_class.h"

namespace vkattn {
namespace {

// The largest span in bytes of one tensor at the problem's bounds, when it is contiguous.
uint64_t largest_tensor_bytes(const Problem& problem) {
    const Shape& s = problem.max_shape;
    auto bytes = [&](int32_t heads, int32_t length, int32_t dim, ElementType type) {
        return static_cast<uint64_t>(s.batch) * static_cast<uint64_t>(heads) * static_cast<uint64_t>(length) *
               static_cast<uint64_t>(dim) * element_bytes(type);
    };
    return std::max({bytes(s.q_heads, s.q_len, problem.head_dim, problem.q_type),
                     bytes(s.kv_heads, s.kv_len, problem.head_dim, problem.k_type),
                     bytes(s.kv_heads, s.kv_len, problem.value_dim, problem.v_type),
                     bytes(s.q_heads, s.q_len, problem.value_dim, problem.o_type)});
}

Status choose_schedule(const Problem& problem, const EmittedHook& hook, Choice& choice) {
    const bool has_blocks = problem.block_q > 0 && problem.block_kv > 0;
    switch (problem.schedule) {
    case Schedule::automatic:
        if (has_blocks) {
            choice.schedule = Schedule::list;
            choice.why += "schedule list: a block size is given; ";
        } else if (hook.has_interval) {
            choice.schedule = Schedule::interval;
            choice.why += "schedule interval: the mask bounds the keys of a row; ";
        } else {
            choice.schedule = Schedule::dense;
            choice.why += hook.has_mask ? "schedule dense: no bounds follow from the mask and no block size is given; "
                                        : "schedule dense: every pair attends; ";
        }
        break;
    case Schedule::dense:
    case Schedule::interval:
        choice.schedule = problem.schedule;
        choice.why += "schedule as asked; ";
        break;
    case Schedule::list:
        if (!has_blocks)
            return error(Code::invalid_argument,
                         "the list schedule needs Problem::block_q and block_kv (128 x 128, say)");
        choice.schedule = Schedule::list;
        choice.why += "schedule as asked; ";
        break;
    }
    return {};
}

Status choose_addressing(const Capabilities& capabilities, const Problem& problem, Choice& choice) {
    const bool available = capabilities.features.buffer_device_address;
    switch (problem.addressing) {
    case Addressing::automatic:
        if (available && capabilities.software) {
            choice.addressing = Addressing::address;
            choice.why += "addresses: a software device pays for every bounds check of a descriptor; ";
        } else if (available && largest_tensor_bytes(problem) > capabilities.max_storage_buffer_range) {
            choice.addressing = Addressing::address;
            choice.why += "addresses: a tensor is larger than the device's descriptor range; ";
        } else {
            choice.addressing = Addressing::binding;
            choice.why += available ? "descriptors: fewer instructions on GPUs; "
                                    : "descriptors: the device has no addresses enabled; ";
        }
        break;
    case Addressing::address:
        if (!available)
            return error(
                Code::unsupported,
                "device addresses were asked for, but bufferDeviceAddress is not enabled (HostDevice::enabled)");
        choice.addressing = Addressing::address;
        break;
    case Addressing::binding: choice.addressing = Addressing::binding; break;
    }
    return {};
}

// The formula in attention_tiles.comp's head.
uint64_t tiles_shared_bytes(const Problem& problem, const Choice& choice) {
    const uint64_t rows = choice.tile_rows;
    const uint64_t keys = uint64_t{choice.threads_x} * choice.micro_cols;
    const uint64_t qk_groups = (static_cast<uint64_t>(problem.head_dim) + 3) / 4;
    const uint64_t value_groups = (static_cast<uint64_t>(problem.value_dim) + 3) / 4;
    const uint64_t staged_groups = (value_groups + choice.threads_x - 1) / choice.threads_x * choice.threads_x;
    const uint64_t scores = (rows + keys) * (std::min<uint64_t>(qk_groups, 8) + 1);
    const uint64_t weights = keys * ((rows + 4) / 4) + choice.step_keys * (staged_groups + 1);
    return 16 * std::max(scores, weights) + 20 + (choice.subgroup_reduce ? 0 : 4 * rows * choice.threads_x);
}

}  // namespace

// Rows skeleton on software devices (ledger T1). Steps are unrolled over keys and dims, and lavapipe's compile time grows faster
// than their length; 16-bit elements take registers to decode, bounds checks of descriptors cost more the more loads a step has.
void tune_rows(const Capabilities& capabilities, const Problem& problem, Choice& choice) {
    const uint32_t dims = static_cast<uint32_t>(problem.head_dim + problem.value_dim);
    const bool wide_keys = choice.widen || (problem.k_type == ElementType::f32 && problem.v_type == ElementType::f32);
    // Invocations past the last row repeat it: few rows take as many subgroups as they need, and rows of the heads that share
    // keys fill one subgroup. Not through descriptors, whose windows are cut between heads.
    const uint32_t most = std::min(64u, std::bit_floor(capabilities.max_invocations));
    const uint32_t rows = std::bit_ceil(static_cast<uint32_t>(std::clamp(problem.max_shape.q_len, 1, 64)));
    choice.workgroup_size = std::min(std::max(rows, std::max(capabilities.subgroup_size, 1u)), most);
    const uint32_t group = static_cast<uint32_t>(problem.max_shape.q_heads / problem.max_shape.kv_heads);
    if (rows < choice.workgroup_size && choice.addressing == Addressing::address)
        choice.heads_per_tile = std::min(choice.workgroup_size / rows, group & (~group + 1));  // a power of two
    choice.tile_rows = choice.workgroup_size;
    if (choice.addressing == Addressing::binding) choice.step_keys = 2;
    else if (wide_keys) choice.step_keys = dims <= 512 ? 8 : 4;
    else choice.step_keys = std::clamp(768u / dims, 2u, 8u);
    choice.subgroup_reduce = capabilities.features.scalar_subgroup;
    choice.gflops_estimate = !capabilities.software ? 200.0 : is_lavapipe(capabilities) ? 40.0 : 0.3;
}

void settle_tiles(const Capabilities& capabilities, const Problem& problem, Choice& choice) {
    // Rows are reduced within full subgroups, of which the workgroup must be made up. Without them the driver is free to
    // compile for as few invocations a subgroup as the registers want.
    const uint32_t subgroup = choice.subgroup_size != 0 ? choice.subgroup_size : capabilities.subgroup_size;
    choice.subgroup_reduce = capabilities.features.scalar_subgroup && capabilities.features.subgroup_size_control &&
                             subgroup >= choice.threads_x && choice.workgroup_size % subgroup == 0;
    choice.tile_rows = choice.workgroup_size / choice.threads_x * choice.micro_rows;
    choice.shared_bytes = tiles_shared_bytes(problem, choice);
}

// Tiles skeleton (ledger T2): sizes that fit 16 KiB and 128 invocations, by the device's class and the larger of D and Dv.
Status tune_tiles(const Capabilities& capabilities, const Problem& problem, Choice& choice) {
    const int32_t dim = std::max(problem.head_dim, problem.value_dim);
    choice.workgroup_size = std::min(128u, std::bit_floor(capabilities.max_invocations));
    choice.threads_x = 8;
    const DeviceClass& device_class = device_class_of(capabilities.device);
    const MicroTile& micro_tile = micro_tile_of(device_class, dim);
    choice.micro_cols = micro_tile.cols;
    choice.micro_rows = micro_tile.rows;
    choice.step_keys = dim > 256 ? 4 : 8;
    choice.subgroup_size = required_subgroup_size(device_class, capabilities, choice.workgroup_size);
    settle_tiles(capabilities, problem, choice);
    if (!choice.subgroup_reduce) choice.subgroup_size = 0;
    if (choice.subgroup_size != 0)
        choice.why += "subgroups of " + std::to_string(choice.subgroup_size) + ": the least of " +
                      std::string(device_class.name) + " has the most registers an invocation; ";
    choice.gflops_estimate = !capabilities.software ? 500.0 : is_lavapipe(capabilities) ? 5.0 : 0.1;
    while (choice.shared_bytes > capabilities.max_shared_bytes && choice.micro_rows > 1) {
        choice.micro_rows /= 2;
        settle_tiles(capabilities, problem, choice);
    }
    if (choice.workgroup_size < 4 * choice.threads_x || choice.shared_bytes > capabilities.max_shared_bytes)
        return error(Code::unsupported, "the tiles skeleton needs 32 invocations and " +
                                            std::to_string(choice.shared_bytes) +
                                            " bytes of shared memory here; the device has " +
                                            std::to_string(capabilities.max_invocations) + " and " +
                                            std::to_string(capabilities.max_shared_bytes));
    return {};
}

namespace {

void choose_skeleton(const Capabilities& capabilities, const Problem& problem, bool decode_shipped, Choice& choice) {
    // Through descriptors, rows of more than this many elements of k and v take seconds to compile on lavapipe (ledger T1).
    constexpr int32_t max_bound_row_elems = 128;
    if (problem.skeleton != Skeleton::automatic) {
        choice.skeleton = problem.skeleton;
        choice.why += "skeleton as asked; ";
    } else if (decode_shipped && prefers_decode(capabilities, problem, choice)) {
        choice.skeleton = Skeleton::decode;
        choice.why += "decode: few query rows a key; ";
    } else if (!capabilities.software) {
        choice.skeleton = Skeleton::tiles;
        choice.why += "tiles: a GPU; ";
    } else if (choice.addressing == Addressing::binding && problem.head_dim + problem.value_dim > max_bound_row_elems) {
        choice.skeleton = Skeleton::tiles;
        choice.why += "tiles: long rows through descriptors; ";
    } else {
        choice.skeleton = Skeleton::rows;
        choice.why += "rows: a software device; ";
    }
}

// What k and v cannot be widened beyond, whoever asks.
std::string widen_limit(const Capabilities& capabilities, const Problem& problem, const Choice& choice) {
    const Shape& s = problem.max_shape;
    const WideRegion wide = wide_region(problem);
    const uint64_t rows =
        static_cast<uint64_t>(s.batch) * static_cast<uint64_t>(s.kv_heads) * static_cast<uint64_t>(s.kv_len);
    if (choice.addressing == Addressing::binding &&
        std::max({largest_tensor_bytes(problem), wide.k_bytes, wide.v_bytes}) + 256 >
            capabilities.max_storage_buffer_range)
        return "a tensor is larger than the device's descriptor range";
    if (rows > 0xffffffffull || std::max(wide.k_bytes, wide.v_bytes) / 4 > 0xffffffffull)
        return "k or v has more than 2^32 elements";
    return {};
}

}  // namespace

std::string widen_obstacle(const Capabilities& capabilities, const Problem& problem, const Choice& choice) {
    constexpr uint64_t max_bytes = 1u << 30;  // what nobody asked for is not done at any price in memory
    if (wide_region(problem).end() > max_bytes) return "k and v as f32 take more than 2^30 bytes of workspace";
    return widen_limit(capabilities, problem, choice);
}

namespace {

Status choose_widen(const Capabilities& capabilities, const Problem& problem, Choice& choice) {
    // A row of k and v is worth copying when this many rows of q read it (ledger T5).
    constexpr int64_t min_rows = 96;
    const Shape& s = problem.max_shape;
    const std::string obstacle = widen_limit(capabilities, problem, choice);
    switch (problem.widen) {
    case Widen::off: return {};
    case Widen::on:
        if (!obstacle.empty()) return error(Code::limit_exceeded, "Problem::widen was asked for, but " + obstacle);
        choice.widen = true;
        choice.why += "k and v widened as asked; ";
        return {};
    case Widen::automatic: break;
    }
    const bool wide_already = problem.k_type == ElementType::f32 && problem.v_type == ElementType::f32 &&
                              problem.k_aligned && problem.v_aligned;
    const int64_t rows_per_key = int64_t{s.q_len} * (s.q_heads / s.kv_heads);
    // Not through descriptors, whose ranges a caller's strides may exceed where the widened copy would not.
    choice.widen = capabilities.software && choice.skeleton == Skeleton::rows &&
                   choice.addressing == Addressing::address && !wide_already && rows_per_key >= min_rows &&
                   widen_obstacle(capabilities, problem, choice).empty();
    if (choice.widen) choice.why += "k and v are widened to f32 first: a software device pays for decoding; ";
    return {};
}

}  // namespace

WideRegion wide_region(const Problem& problem) {
    const Shape& s = problem.max_shape;
    const uint64_t rows =
        static_cast<uint64_t>(s.batch) * static_cast<uint64_t>(s.kv_heads) * static_cast<uint64_t>(s.kv_len);
    auto bytes = [&](int32_t dim) { return std::max<uint64_t>(rows, 1) * static_cast<uint64_t>((dim + 3) / 4) * 16; };
    WideRegion wide;
    wide.k_offset = work_params_bytes + work_scratch_bytes;
    wide.k_bytes = bytes(problem.head_dim);
    wide.v_offset = (wide.k_offset + wide.k_bytes + 255) / 256 * 256;
    wide.v_bytes = bytes(problem.value_dim);
    return wide;
}

namespace {

// Few query rows leave most of a matrix empty, and reading keys is all the work.
constexpr int32_t min_matrix_rows = 9;

Status choose_path(const Capabilities& capabilities, const Problem& problem, Choice& choice) {
    const bool scalar_wishes = problem.skeleton != Skeleton::automatic || problem.widen == Widen::on;
    const bool asked = problem.path == Path::khr || problem.path == Path::nv;
    if (asked && scalar_wishes)
        return error(Code::invalid_argument, "Problem::path is " + std::string(to_string(problem.path)) +
                                                 "; Problem::skeleton and widen belong to scalar");
    const bool automatic = problem.path == Path::automatic && !scalar_wishes && !capabilities.software &&
                           problem.max_shape.q_len >= min_matrix_rows;
    if (!asked && !automatic) return {};
    Choice matrix = choice;
    const Path path = asked ? problem.path : Path::khr;
    if (Status status = tune_matrix(capabilities, problem, path, matrix); !status.ok()) {
        if (asked) return status;
        choice.why += "path scalar: " + status.message + "; ";
        return {};
    }
    choice = matrix;
    choice.path = path;
    choice.why += asked ? "path as asked; " : "path khr: the device has matrix units; ";
    return {};
}

Status check_block_rows(const Problem& problem, const Choice& choice) {
    const uint32_t rows = choice.tile_rows / choice.heads_per_tile;
    if (choice.schedule != Schedule::list || choice.skeleton == Skeleton::decode ||
        static_cast<uint32_t>(problem.block_q) % rows == 0)
        return {};
    return error(Code::invalid_argument, "Problem::block_q " + std::to_string(problem.block_q) +
                                             " is not a multiple of this plan's tile of " + std::to_string(rows) +
                                             " query rows");
}

// `choice` with the given sizes, or why they cannot be.
Status choose_sizes(const Capabilities& capabilities, const Problem& problem, const KernelSizes& sizes,
                    Choice& choice) {
    Choice sized = choice;
    if (Status status = take_sizes(capabilities, problem, sizes, sized); !status.ok()) return status;
    if (Status status = check_block_rows(problem, sized); !status.ok()) return status;
    choice = sized;
    return {};
}

// Whether the table's entry settled the choice.
bool choose_by_table(const Capabilities& capabilities, const Problem& problem, const ChooseOptions& options,
                     Choice& choice) {
    const auto entry = options.table->entries.find(choice.key);
    if (entry == options.table->entries.end()) {
        choice.tuning = "the table has nothing for this problem";
        return false;
    }
    const KernelSizes& sizes = entry->second.sizes;
    Status status;
    if (sizes.skeleton == Skeleton::decode && !options.decode_shipped)
        status = error(Code::unsupported, "the decode skeleton's module for this mask is not built ahead of time");
    else status = choose_sizes(capabilities, problem, sizes, choice);
    if (!status.ok()) {
        choice.tuning = "the table's entry is not used: " + status.message;
        return false;
    }
    choice.by_table = true;
    choice.tuning = to_text(sizes);
    choice.why += "kernel and sizes by the tuning table; ";
    return true;
}

}  // namespace

Result<Choice> choose(const Capabilities& capabilities, const Problem& problem, const EmittedHook& hook,
                      const ChooseOptions& options) {
    Choice choice;
    if (Status status = choose_schedule(problem, hook, choice); !status.ok()) return status;
    if (Status status = choose_addressing(capabilities, problem, choice); !status.ok()) return status;
    choice.key = tuning_key(problem, hook, choice);
    if (problem.sizes) {
        if (Status status = choose_sizes(capabilities, problem, *problem.sizes, choice); !status.ok())
            return error(status.code, "Problem::sizes: " + status.message);
        choice.why += "kernel and sizes as asked; ";
        return choice;
    }
    if (options.table != nullptr && choose_by_table(capabilities, problem, options, choice)) return choice;

    if (Status status = choose_path(capabilities, problem, choice); !status.ok()) return status;
    if (choice.path == Path::scalar) {
        choose_skeleton(capabilities, problem, options.decode_shipped, choice);
        if (choice.skeleton == Skeleton::decode)
            if (const std::string obstacle = decode_obstacle(capabilities); !obstacle.empty())
                return error(Code::unsupported, "the decode skeleton was asked for, but " + obstacle);
        if (Status status = choose_widen(capabilities, problem, choice); !status.ok()) return status;
        if (choice.skeleton == Skeleton::rows) tune_rows(capabilities, problem, choice);
        else if (choice.skeleton == Skeleton::decode) tune_decode(capabilities, problem, choice);
        else if (Status status = tune_tiles(capabilities, problem, choice); !status.ok()) return status;
    }
    if (Status status = choose_splits(capabilities, problem, problem.splits, choice); !status.ok()) return status;
    if (Status status = check_block_rows(problem, choice); !status.ok()) return status;
    return choice;
}

}  // namespace vkattn
