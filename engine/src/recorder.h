// Recording: the one place that calls vkCmd*. Arithmetic only; nothing here can fail, allocate or wait.
#pragma once

#include "engine_impl.h"

namespace vkattn {

// Internal barriers, in the order in which they are recorded.
enum InternalBarrier : int32_t {
    barrier_workspace_reuse,     // earlier dispatches are done with the workspace -> this call overwrites the params
    barrier_params,              // the params are written -> dispatches read them
    barrier_widened,             // k and v are in the workspace -> attention reads them
    barrier_partials,            // the splits' partials are in the workspace -> they are merged
    barrier_classified,          // the kinds of all blocks are in the tables buffer -> they are compacted
    barrier_between_dispatches,  // parts of one call, kept apart by the time cap or a descriptor window
    barrier_kinds,
};

// Fault injection for the negative controls of the tests: one kind of barrier is left out.
struct RecordFaults {
    int32_t drop_barrier = -1;
};

void record_with_faults(const PlanImpl& plan, VkCommandBuffer command_buffer, const BindingImpl& binding,
                        const ArgsImpl& args, Slice slice, const RecordFaults& faults);
// What makes the block lists of `args`; the plan has the pipelines for it.
void record_lists_with_faults(const PlanImpl& plan, VkCommandBuffer command_buffer, const BindingImpl& binding,
                              const ArgsImpl& args, const RecordFaults& faults);
constexpr uint32_t internal_barriers() { return barrier_kinds; }

// Dispatches of an unsliced record of this shape, descriptor windows aside.
uint32_t count_dispatches(const PlanImpl& plan, const Shape& shape);

}  // namespace vkattn
