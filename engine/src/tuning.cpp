#include "tuning.h"

#include <algorithm>

namespace vkattn {
namespace {

// The largest span in bytes of one tensor at the problem's bounds, when it is contiguous.
uint64_t largest_tensor_bytes(const Problem& problem) {
    const Shape& s = problem.max_shape;
    auto bytes = [&](int32_t heads, int32_t length, int32_t dim, ElementType type) {
        return static_cast<uint64_t>(s.batch) * static_cast<uint64_t>(heads) * static_cast<uint64_t>(length) *
               static_cast<uint64_t>(dim) * element_bytes(type);
    };
    return std::max({bytes(s.q_heads, s.q_len, problem.head_dim, problem.q_type), bytes(s.kv_heads, s.kv_len, problem.head_dim, problem.k_type),
                     bytes(s.kv_heads, s.kv_len, problem.value_dim, problem.v_type), bytes(s.q_heads, s.q_len, problem.value_dim, problem.o_type)});
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
                choice.why += hook.has_mask ? "schedule dense: no bounds follow from the mask and no block size is given; " : "schedule dense: every pair attends; ";
            }
            break;
        case Schedule::dense:
        case Schedule::interval:
            choice.schedule = problem.schedule;
            choice.why += "schedule as asked; ";
            break;
        case Schedule::list:
            if (!has_blocks) return error(Code::invalid_argument, "the list schedule needs Problem::block_q and block_kv (128 x 128, say)");
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
                choice.why += available ? "descriptors: fewer instructions on GPUs; " : "descriptors: the device has no addresses enabled; ";
            }
            break;
        case Addressing::address:
            if (!available)
                return error(Code::unsupported, "device addresses were asked for, but bufferDeviceAddress is not enabled (HostDevice::enabled)");
            choice.addressing = Addressing::address;
            break;
        case Addressing::binding:
            choice.addressing = Addressing::binding;
            break;
    }
    return {};
}

// Rows skeleton on software devices (ledger T1). Fewer keys a step at large dims keep a pipeline's unrolled multiply-adds small:
// lavapipe's compile time grows with their square.
void tune_rows(const Capabilities& capabilities, Choice& choice) {
    choice.workgroup_size = std::min(64u, capabilities.max_invocations);
    choice.tile_rows = choice.workgroup_size;
    choice.step_keys = 8;
    choice.subgroup_reduce = capabilities.features.scalar_subgroup;
    choice.gflops_estimate = !capabilities.software ? 200.0
                             : capabilities.device.driver_id == VK_DRIVER_ID_MESA_LLVMPIPE ? 40.0
                                                                                           : 0.3;
}

// Tiles skeleton (ledger T2): sizes that fit 16 KiB and 128 invocations, by the larger of D and Dv.
void tune_tiles(const Capabilities& capabilities, const Problem& problem, Choice& choice) {
    const int32_t dim = std::max(problem.head_dim, problem.value_dim);
    choice.workgroup_size = std::min(128u, capabilities.max_invocations);
    choice.threads_x = 8;
    choice.micro_cols = 4;
    choice.micro_rows = dim <= 64 ? 4 : dim <= 256 ? 2 : 1;
    choice.step_keys = dim > 256 ? 4 : 8;
    choice.tile_rows = choice.workgroup_size / choice.threads_x * choice.micro_rows;
    choice.subgroup_reduce = capabilities.features.scalar_subgroup && capabilities.features.subgroup_size_control &&
                             capabilities.subgroup_size >= choice.threads_x;
    choice.gflops_estimate = !capabilities.software ? 500.0
                             : capabilities.device.driver_id == VK_DRIVER_ID_MESA_LLVMPIPE ? 5.0
                                                                                           : 0.1;
}

}  // namespace

Result<Choice> choose(const Capabilities& capabilities, const Problem& problem, const EmittedHook& hook) {
    Choice choice;
    if (problem.skeleton == Skeleton::automatic) {
        choice.skeleton = capabilities.software ? Skeleton::rows : Skeleton::tiles;
        choice.why = capabilities.software ? "rows: a software device; " : "tiles: a GPU; ";
    } else {
        choice.skeleton = problem.skeleton;
        choice.why = "skeleton as asked; ";
    }
    if (Status status = choose_schedule(problem, hook, choice); !status.ok()) return status;
    if (Status status = choose_addressing(capabilities, problem, choice); !status.ok()) return status;
    if (choice.skeleton == Skeleton::rows)
        tune_rows(capabilities, choice);
    else
        tune_tiles(capabilities, problem, choice);

    if (choice.schedule == Schedule::list && static_cast<uint32_t>(problem.block_q) % choice.tile_rows != 0)
        return error(Code::invalid_argument, "Problem::block_q " + std::to_string(problem.block_q) + " is not a multiple of this plan's tile of " +
                                                 std::to_string(choice.tile_rows) + " query rows");
    return choice;
}

}  // namespace vkattn
