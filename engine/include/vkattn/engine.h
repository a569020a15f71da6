// vkattn's engine: plan, bind, record. The host owns the device, the buffers, the command buffers and the submits.
//
//   auto engine  = Engine::create(host, {.compiler = compiler.get()});
//   auto plan    = engine->plan({.max_shape = shape, .head_dim = 64, .mask = causal()});   // chooses, compiles; any thread
//   auto args    = plan->make_args({.shape = shape});                                     // checked values of one call
//   auto binding = plan->bind(buffers);                                                   // descriptor set or addresses
//   plan->record(command_buffer, *binding, *args);                                        // cannot fail, allocate or wait
//
// Threads: Engine is internally synchronised; Plan, Binding and Args are immutable and shared; record is per command buffer.
// Lifetime: the Engine outlives its plans, a plan its bindings, plans and bindings outlive execution.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <vulkan/vulkan_core.h>

#include "vkattn/block_mask.h"
#include "vkattn/device.h"
#include "vkattn/mask.h"
#include "vkattn/result.h"
#include "vkattn/tuning_table.h"
#include "vkattn/types.h"

namespace vkattn {

class ShaderCompiler;

// A device that the host made. Every handle stays the host's.
struct HostDevice {
    uint32_t struct_size = sizeof(HostDevice);
    VkInstance instance = VK_NULL_HANDLE;
    VkPhysicalDevice physical_device = VK_NULL_HANDLE;
    VkDevice device = VK_NULL_HANDLE;
    PFN_vkGetInstanceProcAddr get_instance_proc_addr = nullptr;
    const VkAllocationCallbacks* allocator = nullptr;
    VkPipelineCache pipeline_cache = VK_NULL_HANDLE;
    Features enabled;  // what the host enabled; a subset of requirements().features
};

// Lower limits than the device's, for tests and for hosts that share a device. 0 keeps the device's own.
struct LimitOverrides {
    uint64_t max_storage_buffer_range = 0;  // bytes
    uint32_t max_workgroups = 0;            // per dimension
    uint32_t max_shared_bytes = 0;
    uint32_t max_invocations = 0;
    uint32_t cores = 0;
};

struct EngineOptions {
    const ShaderCompiler* compiler = nullptr;  // null: ahead-of-time modules only
    std::string cache_directory;               // empty: no disk cache of compiled modules
    LimitOverrides limits;
    // Sizes that were measured on this device (vkattn/tuning_table.h). One of another device, driver or version of the kernels is
    // not used; PlanReport::tuning says so.
    std::shared_ptr<const TuningTable> tuning;
};

// What the device can do, and why not more.
struct Capabilities {
    DeviceInfo device;
    Features features;
    bool literal_matrix_sizes = false;  // a module for each choice of matrix sizes: they need the run-time compiler
    bool matrices_usable = true;        // no known bug of the driver stands against cooperative matrices
    bool software = false;              // a CPU driver: rows skeleton, addresses
    uint32_t subgroup_size = 0;         // that the driver chooses
    uint32_t min_subgroup_size = 0, max_subgroup_size = 0;  // powers of two that a pipeline can require; 0: none can be
    uint32_t max_workgroup_subgroups = 0;                   // of a required size
    std::vector<MatrixShape> matrix_shapes;                 // that Path::khr can use; empty where it is not enabled
    std::vector<WorkgroupMatrices> workgroup_matrices;      // that Path::nv can use; empty where they are not enabled
    uint32_t max_workgroup_matrix_dim = 0;                  // of their m, n and k
    uint32_t workgroup_matrix_shared_bytes = 0;             // of shared memory that they take for themselves
    uint32_t max_shared_bytes = 0;
    uint32_t max_invocations = 0;
    uint32_t max_workgroups = 0;
    uint32_t cores = 1;  // that run workgroups side by side: a software device's threads, compute units; or a guess
    uint64_t max_storage_buffer_range = 0;
    uint64_t storage_offset_alignment = 1;
    std::vector<std::string> reasons;  // one line a path or feature that is not available
    std::string device_key;            // pipelineCacheUUID, driver version, name, subgroup size
    std::string cache_key;             // pipelineCacheUUID, driver version, name, subgroup size, features
};

struct TableBound {
    std::string name;
    std::vector<int64_t> dims;  // upper bounds, elements
};

// What a plan is made for: upper bounds, types and wishes. Actual lengths, strides and values come with Args.
struct Problem {
    Shape max_shape;        // heads and batch, too, are upper bounds; q_heads / kv_heads is fixed
    int32_t head_dim = 0;   // D, 1 to 576
    int32_t value_dim = 0;  // Dv; 0: D
    ElementType q_type = ElementType::f32;
    ElementType k_type = ElementType::f32;
    ElementType v_type = ElementType::f32;
    ElementType o_type = ElementType::f32;
    // Addresses, offsets and strides are multiples of four elements. False costs speed and accepts anything element-aligned.
    bool q_aligned = true, k_aligned = true, v_aligned = true, o_aligned = true;

    Mask mask;
    ScoreMod score_mod;
    std::vector<TableBound> tables;  // bounds of tables that are not captured
    uint64_t max_tables_bytes = 0;   // room for all tables and lists in the tables buffer; 0: from bounds and captures

    Path path = Path::automatic;
    Schedule schedule = Schedule::automatic;  // automatic never picks list unless a block size is given
    Addressing addressing = Addressing::automatic;
    Skeleton skeleton = Skeleton::automatic;
    Widen widen = Widen::automatic;
    // Into how many parts the keys of a tile of query rows are cut, each a workgroup's work, with one more dispatch that merges the
    // parts' softmax states in ascending order. 0: as many as keep the device's cores busy, none where the tiles alone do; 1: off;
    // at most 1024. Takes 4 (Dv + 8) bytes of workspace a row and part. Results do not depend on anything but this number.
    int32_t splits = 0;
    // The kernel and its sizes, as a tuner tries them (Engine::neighbours). Refused with the reason where they do not fit the device,
    // the kernel's rules, or another wish that is made here. None: plan() chooses, by the engine's tuning table where it has one.
    std::optional<KernelSizes> sizes;
    int32_t block_q = 0;  // of the lists that Args will carry; 0: no lists
    int32_t block_kv = 0;
    ListEncoding list_encoding = ListEncoding::runs;
    bool build_lists = false;        // record_block_lists will be used; needs ListEncoding::indices
    double max_dispatch_ms = 500.0;  // estimated time under which every dispatch is kept
};

struct Strides {
    int64_t b = 0, h = 0, l = 0;
};  // elements; the innermost stride is 1; 0 broadcasts (inputs only)

struct ArgsInfo {
    Shape shape;
    std::optional<float> scale;             // default 1 / sqrt(D)
    std::optional<Strides> q, k, v, o;      // default: contiguous [B, H, L, D]
    Bindings bindings;                      // scalars and tables by name
    const BlockMask* block_mask = nullptr;  // for the list schedule with ListEncoding::runs; copied
    // The list was made for other values of this mask, under which it kept at least what it keeps now (a larger window, say), and
    // still covers it: values are not compared, and full blocks are tested again. Tables and lengths still are.
    bool block_mask_covers = false;
    // For the list schedule with ListEncoding::indices; copied. Null: the arrays are made on the device before record, by
    // record_block_lists or by the host's own means at Args::list_layout(). Kernels clamp counts to the array's columns and
    // ignore columns outside the plane; a block named twice counts twice.
    const PaddedBlocks* padded_blocks = nullptr;
    bool write_lse = false;
};

struct BufferRange {
    VkBuffer buffer = VK_NULL_HANDLE;
    uint64_t offset = 0;  // bytes
    uint64_t size = VK_WHOLE_SIZE;
};

// STORAGE usage, work also TRANSFER_DST; with Addressing::address also SHADER_DEVICE_ADDRESS. k and v may be null when kv_len
// stays 0, lse when it is never written, tables when the plan needs none.
struct Buffers {
    BufferRange q, k, v, o, lse, work, tables;
};

struct Slice {
    uint32_t index = 0, count = 1;
};

class EngineImpl;
class PlanImpl;
class BindingImpl;
class ArgsImpl;

// Where the int32 arrays of ListEncoding::indices lie, in bytes from Buffers::tables: PyTorch's num_blocks [batch, heads, rows] and
// indices [batch, heads, rows, columns], for partial and for full blocks.
struct ListLayout {
    int32_t batch = 0, heads = 0, rows = 0, columns = 0;  // batch and heads 1: shared
    uint64_t num_blocks = 0, indices = 0, full_num_blocks = 0, full_indices = 0;
};

// Checked values of one call. Immutable.
class Args {
  public:
    // Bytes of the tables buffer: tables and block lists, laid out for this plan. Upload write_tables' bytes to Buffers::tables.
    uint64_t tables_bytes() const;
    void write_tables(std::span<uint8_t> bytes) const;  // exactly tables_bytes() long
    ListLayout list_layout() const;                     // all 0 without ListEncoding::indices
    // Where the table of that name lies, in bytes from Buffers::tables, for a device that writes it with the type and dims that it
    // has here: one place for the mask and one for the score mod, as far as they use it.
    std::vector<uint64_t> table_offsets(std::string_view name) const;
    const ArgsImpl& impl() const { return *impl_; }
    explicit Args(std::shared_ptr<const ArgsImpl> impl) : impl_(std::move(impl)) {}

  private:
    std::shared_ptr<const ArgsImpl> impl_;
};

class Binding {
  public:
    const BindingImpl& impl() const { return *impl_; }
    explicit Binding(std::shared_ptr<const BindingImpl> impl) : impl_(std::move(impl)) {}

  private:
    std::shared_ptr<const BindingImpl> impl_;
};

// What the plan chose, in words and numbers, for reports.
struct PlanReport {
    std::string path;            // "scalar" | "khr" | "nv"
    std::string skeleton;        // "rows" | "tiles" | "decode", of the scalar path; else "matrix"
    std::string schedule;        // "dense" | "interval" | "list"
    std::string addressing;      // "address" | "binding"
    bool widened = false;        // k and v go through f32 rows in the workspace
    int32_t splits = 1;          // parts of a tile's keys (Problem::splits)
    std::string why;             // one sentence a choice
    int32_t tile_q = 0;          // query rows of a tile, of each head in it
    int32_t tile_kv = 0;         // keys of a step
    uint32_t subgroup_size = 0;  // required of the pipeline; 0: the driver chooses
    uint64_t shared_bytes = 0;   // shared memory of a workgroup, beside a few words
    uint64_t workspace_bytes = 0;
    uint64_t tables_bytes = 0;  // what Buffers::tables must hold at least; 0: no tables or lists
    double estimated_ms = 0.0;  // of a dense mask at the upper bounds
    uint32_t dispatches = 0;    // of an unsliced record at the upper bounds
    KernelSizes sizes;          // of the attention kernel; splits 0 where q_len is 128 and more
    TuningKey tuning_key;       // what a tuning table calls this problem
    std::string tuning;  // whether sizes are those of the engine's tuning table, or why not; empty without a table
    std::string module;  // where the shader came from: "ahead of time" | "disk cache" | "compiled" | "there already"
    double compile_ms = 0.0;  // GLSL to SPIR-V and pipeline creation in this plan; 0 when all was there
};

class Plan {
  public:
    const PlanReport& report() const;
    uint64_t workspace_bytes() const { return report().workspace_bytes; }

    // Errors name the bound, stride, scalar or table that is wrong.
    Result<Args> make_args(const ArgsInfo& info) const;
    Result<Binding> bind(const Buffers& buffers) const;

    // Whether everything that `args` touches lies inside the bound ranges; record trusts that it does.
    Status check(const Binding& binding, const Args& args) const;

    // Records dispatches and internal barriers. Outside a render pass; the host makes inputs visible to COMPUTE / SHADER_READ
    // before and waits on COMPUTE / SHADER_WRITE after. Clobbers: compute pipeline, set 0, push constants.
    // Slices 0 .. count - 1, in any order and any command buffers, give the whole result bit for bit.
    void record(VkCommandBuffer command_buffer, const Binding& binding, const Args& args, Slice slice = {}) const;

    // Records what makes the block lists of `args` in the tables buffer from the mask and the tables as they are there then: exact,
    // ascending, the same as create_block_mask's with host refinement, bit for bit from run to run. Records that follow in the same
    // queue see them. Code::invalid_argument when the plan was made without Problem::build_lists.
    Status record_block_lists(VkCommandBuffer command_buffer, const Binding& binding, const Args& args) const;

    const PlanImpl& impl() const { return *impl_; }
    explicit Plan(std::shared_ptr<const PlanImpl> impl) : impl_(std::move(impl)) {}

  private:
    std::shared_ptr<const PlanImpl> impl_;
};

class Engine {
  public:
    static Result<std::unique_ptr<Engine>> create(const HostDevice& host, const EngineOptions& options = {});
    ~Engine();

    const Capabilities& capabilities() const;
    Result<Plan> plan(const Problem& problem);
    // What else a tuner may try beside `from`, a plan's PlanReport::sizes: the same kernel with one size halved, doubled or one more or
    // less, and other kernels with their own sizes. Each is one that plan() takes as Problem::sizes; nothing is compiled or measured.
    Result<std::vector<KernelSizes>> neighbours(const Problem& problem, const KernelSizes& from) const;
    // Pipelines made since create(): changing windows, literals, lengths or tables must not move it.
    uint64_t pipelines_created() const;

  private:
    explicit Engine(std::unique_ptr<EngineImpl> impl);
    std::shared_ptr<EngineImpl> impl_;
};

}  // namespace vkattn
