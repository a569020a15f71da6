// What stands behind the public handles.
#pragma once

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "functions.h"
#include "modules.h"
#include "params.h"
#include "variant.h"
#include "vkattn/emit.h"
#include "vkattn/engine.h"
#include "vkattn/normalise.h"

namespace vkattn {

// Descriptor set 0, the same for every kernel. The first four are dynamic, so that tensors beyond the range limit are reached
// window by window (four dynamic storage buffers are Vulkan's minimum).
enum BindingSlot : uint32_t {
    binding_q,
    binding_k,
    binding_v,
    binding_o,
    binding_lse,
    binding_work,
    binding_tables,
    binding_params,
    binding_count
};

// Workspace: AttentionParams, then scratch that stands in for absent buffers in the descriptor set, then the widened k and v or
// the splits' partials, one behind the other.
constexpr uint64_t work_params_bytes = 4096;
constexpr uint64_t work_scratch_bytes = 4096;

// Where widen.comp leaves k and v, from the start of the workspace. Offsets are multiples of every device's buffer alignment.
struct WideRegion {
    uint64_t k_offset = 0, k_bytes = 0, v_offset = 0, v_bytes = 0;
    uint64_t end() const { return v_offset + v_bytes; }
};

// What it took to make a pipeline; compile_ms stays 0 when it was there.
struct PipelineCost {
    double compile_ms = 0.0;
    ModuleOrigin origin = ModuleOrigin::ahead_of_time;
};

class EngineImpl {
  public:
    ~EngineImpl();

    HostDevice host;
    EngineOptions options;
    InstanceFunctions instance_functions;
    DeviceFunctions functions;
    Capabilities capabilities;
    std::string tuning_mismatch;  // why options.tuning is not used; empty: it is, or there is none
    VkDescriptorSetLayout set_layout = VK_NULL_HANDLE;
    VkPipelineLayout pipeline_layout = VK_NULL_HANDLE;
    std::atomic<uint64_t> pipelines_created{0};

    Status create_layouts();
    Status create_pipeline_cache();
    // The pipeline of a variant, made on first use. Internally synchronised.
    Result<VkPipeline> pipeline(const Variant& variant, const EmittedHook& hook, PipelineCost* cost);

  private:
    Result<VkShaderModule> shader_module(const ModuleKey& key, const EmittedHook& hook, ModuleOrigin* origin);
    VkPipelineCache pipeline_cache() const {
        return host.pipeline_cache != VK_NULL_HANDLE ? host.pipeline_cache : own_cache_;
    }
    void store_pipeline_cache();

    std::mutex mutex_;
    std::map<ModuleKey, VkShaderModule> modules_;
    std::map<Variant, VkPipeline> pipelines_;
    VkPipelineCache own_cache_ = VK_NULL_HANDLE;
    std::vector<uint8_t> stored_pipelines_;
};

// Everything that recording needs, chosen by plan().
class PlanImpl {
  public:
    std::shared_ptr<EngineImpl> engine;
    Problem problem;                   // with value_dim, schedule, addressing and skeleton settled
    std::shared_ptr<const Tree> mask;  // normalised
    std::shared_ptr<const Tree> score_mod;
    std::string mask_hash;
    bool lists_by_batch = false, lists_by_head = false;  // the mask depends on b, on h
    EmittedHook hook;
    Variant variant;
    VkPipeline pipeline = VK_NULL_HANDLE;
    uint32_t heads_per_tile = 1;                       // q_heads that share a key head and a tile
    uint32_t tile_rows = 1;                            // of all heads in it
    uint32_t parts = 1;                                // workgroups of a tile
    VkPipeline merge_pipeline = VK_NULL_HANDLE;        // null: attention writes o itself
    uint32_t merge_items = 64;                         // groups of four elements of o that one workgroup makes
    uint64_t partials_offset = 0, partials_bytes = 0;  // the splits' partials in the workspace
    VkPipeline widen_pipeline = VK_NULL_HANDLE;        // null: attention reads the caller's k and v
    VkPipeline classify_pipeline = VK_NULL_HANDLE;     // null: lists come from the host
    VkPipeline compact_pipeline = VK_NULL_HANDLE;
    uint32_t compact_rows = 64;  // block rows that one workgroup compacts
    uint32_t widen_rows = 64;    // rows of k and v that one workgroup copies
    WideRegion wide;             // at the bounds; what a call leaves free stays unused
    PlanReport report;
    uint64_t tables_capacity_bytes = 0;
    double gflops_estimate = 1.0;  // of this variant on this device class, for the dispatch time cap
};

class ArgsImpl {
  public:
    std::shared_ptr<const PlanImpl> plan;
    AttentionParams params{};                              // without addresses and bases, which belong to the binding
    std::vector<std::shared_ptr<const TableData>> tables;  // the mask's, then the score mod's
    std::shared_ptr<const BlockMask> block_mask;
    std::shared_ptr<const PaddedBlocks> padded_blocks;
    ListLayout list_layout;
    std::vector<uint32_t> tile_order;  // empty: the rows' own
    uint64_t tables_bytes = 0;
    std::array<uint64_t, 4> span_elems{};  // q, k, v, o: elements from the first to the last one touched
    std::array<Strides, 4> strides{};      // q, k, v, o as the attention kernel reads them
};

class BindingImpl {
  public:
    ~BindingImpl();

    std::shared_ptr<const PlanImpl> plan;
    Buffers buffers;
    VkDescriptorPool pool = VK_NULL_HANDLE;  // binding flavour
    VkDescriptorSet set = VK_NULL_HANDLE;
    VkDescriptorSet widen_set = VK_NULL_HANDLE;  // the caller's k and v in, the workspace's at q's and o's places out
    std::array<uint64_t, binding_count> address{};     // address flavour
    std::array<uint32_t, binding_count> base_elems{};  // binding flavour: the rest of an offset after alignment
    std::array<uint64_t, 2> source_address{};          // the caller's k and v, when attention reads the workspace's
    std::array<uint32_t, 2> source_base_elems{};
    std::array<uint64_t, 4> range_bytes{};  // binding flavour: descriptor range of q, k, v, o for attention
    std::array<uint64_t, 4> total_bytes{};  // from the aligned-down offset to the end of the host's range
};

// The step of descriptor windows in bytes: the device's offset alignment, and four elements of any type.
uint64_t window_alignment(const Capabilities& capabilities);

Result<Plan> make_plan(const std::shared_ptr<EngineImpl>& engine, const Problem& problem);
Result<std::vector<KernelSizes>> plan_neighbours(const EngineImpl& engine, const Problem& problem,
                                                 const KernelSizes& from);
Result<Args> make_plan_args(const std::shared_ptr<const PlanImpl>& plan, const ArgsInfo& info);
Result<Binding> make_binding(const std::shared_ptr<const PlanImpl>& plan, const Buffers& buffers);
// Whether every tensor that `args` touches lies inside the ranges that were bound.
Status check_spans(const BindingImpl& binding, const ArgsImpl& args);

}  // namespace vkattn
