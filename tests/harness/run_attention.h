// One attention call from a case to checked results: inputs, buffers between NaN guards, plan, bind, record, submit, compare.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "command_spy.h"
#include "inputs.h"
#include "judge.h"
#include "vkattn/compiler.h"
#include "vkattn/engine.h"
#include "vulkan_context.h"

namespace vkattn_tests {

// The run-time compiler; null where the library is built without one.
const vkattn::ShaderCompiler* test_compiler();
// The context as the engine adopts it, through the command spy and the counting allocator.
vkattn::HostDevice host_device(VulkanContext& context);
// An engine on it.
std::unique_ptr<vkattn::Engine> make_engine(VulkanContext& context, const vkattn::LimitOverrides& limits = {},
                                            const vkattn::ShaderCompiler* compiler = test_compiler(),
                                            const std::string& cache_directory = {});
// The process's engine on VulkanContext::shared(): pipelines are shared by all cases.
vkattn::Engine& shared_engine();

// inputs_for; an error fails the test.
Inputs make_inputs(const AttentionCase& attention_case);
// read_case; an error fails the test.
AttentionCase parse_case(std::string_view text);
const MaskEntry& mask_entry(std::string_view name);  // find_mask; an unknown name fails the test

// A tensor in a buffer of its own, where the case's layout does not reach. Not guarded.
struct Elsewhere {
    SparseBuffer* buffer = nullptr;
    Placement at;

    uint64_t element(int32_t b, int32_t h, int32_t l, int32_t d) const {
        return static_cast<uint64_t>(at.first + b * at.strides.b + h * at.strides.h + l * at.strides.l + d);
    }
    vkattn::BufferRange range(vkattn::ElementType type) const {
        const uint64_t offset = static_cast<uint64_t>(at.first) * element_bytes(type);
        return {buffer->handle, offset, buffer->size_bytes - offset};
    }
};

// How a run differs from the everyday one.
struct RunOptions {
    VulkanContext* context = nullptr;  // null: shared
    vkattn::Engine* engine = nullptr;  // null: shared
    bool write_lse = true;
    bool separate_submits = false;  // each slice in a submit of its own
    bool reversed_slices = false;
    int32_t drop_barrier = -1;    // the negative control: validation messages are then returned, not checked
    bool expect_refusal = false;  // a refusal is a result: RunResult::refused says why
    double max_dispatch_ms = 500.0;
    std::optional<vkattn::KernelSizes> sizes;
    std::optional<float> scale;
    std::optional<Elsewhere> k, o;
    // With ListEncoding::indices: the arrays (null: the case's list, padded), or lists that the device makes.
    const vkattn::PaddedBlocks* padded_blocks = nullptr;
    bool build_lists = false;
    bool list_covers = false;                                     // ArgsInfo::block_mask_covers
    const vkattn::Bindings* tables_on_device = nullptr;           // written over those of the args
    const std::vector<uint32_t>* tile_order_on_device = nullptr;  // written over that of the args, which must have one
};

struct RunResult {
    vkattn::Status refused;  // not ok: nothing ran
    vkattn::PlanReport report;
    Values o;
    std::vector<float> lse;                     // [B, Hq, Lq]
    std::optional<vkattn::PaddedBlocks> built;  // with RunOptions::build_lists
    CommandLog log;                             // of all records together
    std::vector<ValidationMessage> messages;    // only with drop_barrier
    bool ran() const { return refused.ok(); }
};

// A call that is ready to be recorded.
class Call {
  public:
    // Plans, makes args and buffers, binds. `shared_work`: another call whose workspace this one uses, too.
    Call(const AttentionCase& attention_case, const Inputs& inputs, const RunOptions& options = {},
         Call* shared_work = nullptr);
    ~Call();
    bool ran() const { return result_.refused.ok(); }
    void record(VkCommandBuffer command_buffer, vkattn::Slice slice);
    void record_block_lists(VkCommandBuffer command_buffer);
    // After the submit: what was written, and that nothing else was.
    RunResult collect();
    const RunResult& collect_refusal() const { return result_; }

  private:
    struct Memory;
    void refuse(const char* what, const vkattn::Status& status);

    AttentionCase case_;
    RunOptions options_;
    VulkanContext& context_;
    vkattn::Engine& engine_;
    RunResult result_;
    int32_t list_barriers_ = 0;  // recorded before those of the attention
    std::optional<vkattn::Plan> plan_;
    std::optional<vkattn::Args> args_;
    std::optional<vkattn::Binding> binding_;
    std::unique_ptr<Memory> memory_;
};

// Runs and checks what holds for every run: guards, inputs and workspace surroundings unchanged, no message of the validation
// layer, no allocation while recording, push constants and workgroups within limits.
RunResult run(const AttentionCase& attention_case, const Inputs& inputs, const RunOptions& options = {});
// Against float64, per row, within the tolerance of docs/design.md.
void check_result(const AttentionCase& attention_case, const Inputs& inputs, const RunResult& result,
                  const RunOptions& options = {});
// Both; returns the run for more checks.
RunResult run_and_check(const AttentionCase& attention_case, const RunOptions& options = {});

// "replay: ..." with device and driver: what a failing test prints.
std::string replay_line(const AttentionCase& attention_case, const VulkanContext& context);

// Bit for bit, NaNs included.
bool same_bits(const RunResult& a, const RunResult& b);

}  // namespace vkattn_tests
