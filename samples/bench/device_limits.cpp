#include "device_limits.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <functional>
#include <span>
#include <vector>

#include "support/buffer.h"
#include "support/submit.h"

namespace vkattn::bench {
namespace {

using support::Buffer;
using support::Device;

constexpr uint32_t multiply_add_f32[] =
#include "multiply_add_f32.inc"
    ;
constexpr uint32_t multiply_add_f16[] =
#include "multiply_add_f16.inc"
    ;
constexpr uint32_t matrix_multiply_add_f16[] =
#include "matrix_multiply_add_f16.inc"
    ;
constexpr uint32_t matrix_multiply_add_bf16[] =
#include "matrix_multiply_add_bf16.inc"
    ;
constexpr uint32_t stream_address[] =
#include "stream_address.inc"
    ;
constexpr uint32_t stream_binding[] =
#include "stream_binding.inc"
    ;

// As in the shaders.
constexpr uint32_t local_size = 64, chains = 12, steps = 32, matrix_chains = 4, matrix_steps = 8;
enum class Walk : uint32_t { side_by_side, together, copy, shared };
constexpr uint32_t piece = 4096;  // uvec4 of a workgroup
constexpr uint64_t piece_bytes = piece * 16;
constexpr uint32_t together_size = 8;       // one subgroup of the software devices we know
constexpr uint32_t max_workgroups = 65535;  // of one dimension, on every device
constexpr uint32_t push_bytes = 20;
// Larger than any last-level cache of 2026 but a server's; descriptors of some devices end at 128 MiB.
constexpr uint64_t stream_bytes_by_address = 256u << 20, stream_bytes_by_binding = 128u << 20;
constexpr double long_enough_ms = 30.0;  // for a clock and a start of threads not to matter
constexpr int max_passes = 12, min_passes = 3;

Status failed(const char* call, VkResult result) {
    return error(Code::device_error, std::string(call) + " failed (VkResult " + std::to_string(result) + ")", result);
}

// One compute pipeline with two storage buffers and push constants.
class Kernel {
  public:
    explicit Kernel(const Device& device) : device_(device) {}
    ~Kernel() {
        const VolkDeviceTable& vk = device_.vk();
        vk.vkDestroyPipeline(device_.handle(), pipeline_, nullptr);
        vk.vkDestroyPipelineLayout(device_.handle(), layout_, nullptr);
        vk.vkDestroyDescriptorPool(device_.handle(), pool_, nullptr);
        vk.vkDestroyDescriptorSetLayout(device_.handle(), set_layout_, nullptr);
        vk.vkDestroyShaderModule(device_.handle(), module_, nullptr);
    }
    Kernel(const Kernel&) = delete;
    Kernel& operator=(const Kernel&) = delete;

    // `constants`: the specialization constants 0, 1 ... `subgroup_size`: full subgroups of it; 0: the driver's.
    Status create(std::span<const uint32_t> words, std::span<const uint32_t> constants, uint32_t subgroup_size = 0) {
        const VolkDeviceTable& vk = device_.vk();
        VkDescriptorSetLayoutBinding bindings[2] = {};
        for (uint32_t i = 0; i < 2; i++)
            bindings[i] = {i, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
        VkDescriptorSetLayoutCreateInfo set_layout{};
        set_layout.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO;
        set_layout.bindingCount = 2;
        set_layout.pBindings = bindings;
        if (VkResult r = vk.vkCreateDescriptorSetLayout(device_.handle(), &set_layout, nullptr, &set_layout_);
            r != VK_SUCCESS)
            return failed("vkCreateDescriptorSetLayout", r);
        const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 2};
        VkDescriptorPoolCreateInfo pool{};
        pool.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO;
        pool.maxSets = 1;
        pool.poolSizeCount = 1;
        pool.pPoolSizes = &size;
        if (VkResult r = vk.vkCreateDescriptorPool(device_.handle(), &pool, nullptr, &pool_); r != VK_SUCCESS)
            return failed("vkCreateDescriptorPool", r);
        VkDescriptorSetAllocateInfo allocate{};
        allocate.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO;
        allocate.descriptorPool = pool_;
        allocate.descriptorSetCount = 1;
        allocate.pSetLayouts = &set_layout_;
        if (VkResult r = vk.vkAllocateDescriptorSets(device_.handle(), &allocate, &set_); r != VK_SUCCESS)
            return failed("vkAllocateDescriptorSets", r);

        const VkPushConstantRange push{VK_SHADER_STAGE_COMPUTE_BIT, 0, push_bytes};
        VkPipelineLayoutCreateInfo layout{};
        layout.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO;
        layout.setLayoutCount = 1;
        layout.pSetLayouts = &set_layout_;
        layout.pushConstantRangeCount = 1;
        layout.pPushConstantRanges = &push;
        if (VkResult r = vk.vkCreatePipelineLayout(device_.handle(), &layout, nullptr, &layout_); r != VK_SUCCESS)
            return failed("vkCreatePipelineLayout", r);
        VkShaderModuleCreateInfo module{};
        module.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO;
        module.codeSize = words.size_bytes();
        module.pCode = words.data();
        if (VkResult r = vk.vkCreateShaderModule(device_.handle(), &module, nullptr, &module_); r != VK_SUCCESS)
            return failed("vkCreateShaderModule", r);
        std::vector<VkSpecializationMapEntry> entries;
        for (uint32_t i = 0; i < constants.size(); i++) entries.push_back({i, i * 4, 4});
        const VkSpecializationInfo specialization{static_cast<uint32_t>(entries.size()), entries.data(),
                                                  constants.size_bytes(), constants.data()};
        VkComputePipelineCreateInfo pipeline{};
        pipeline.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO;
        pipeline.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
        pipeline.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
        pipeline.stage.module = module_;
        pipeline.stage.pName = "main";
        pipeline.stage.pSpecializationInfo = &specialization;
        pipeline.layout = layout_;
        VkPipelineShaderStageRequiredSubgroupSizeCreateInfo required{};
        required.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO;
        required.requiredSubgroupSize = subgroup_size;
        if (subgroup_size != 0) {
            pipeline.stage.pNext = &required;
            pipeline.stage.flags = VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT;
        }
        if (VkResult r =
                vk.vkCreateComputePipelines(device_.handle(), VK_NULL_HANDLE, 1, &pipeline, nullptr, &pipeline_);
            r != VK_SUCCESS)
            return failed("vkCreateComputePipelines", r);
        return {};
    }

    void bind(const Buffer& first, const Buffer& second) {
        const VkDescriptorBufferInfo infos[2] = {{first.handle(), 0, VK_WHOLE_SIZE},
                                                 {second.handle(), 0, VK_WHOLE_SIZE}};
        VkWriteDescriptorSet writes[2] = {};
        for (uint32_t i = 0; i < 2; i++) {
            writes[i].sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
            writes[i].dstSet = set_;
            writes[i].dstBinding = i;
            writes[i].descriptorCount = 1;
            writes[i].descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
            writes[i].pBufferInfo = &infos[i];
        }
        device_.vk().vkUpdateDescriptorSets(device_.handle(), 2, writes, 0, nullptr);
    }

    // Milliseconds of one dispatch of `workgroups`.
    Result<double> run(uint32_t workgroups, std::span<const uint8_t, push_bytes> push) const {
        auto timing = support::submit_timed(device_, [&](VkCommandBuffer commands) {
            const VolkDeviceTable& vk = device_.vk();
            vk.vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline_);
            vk.vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout_, 0, 1, &set_, 0, nullptr);
            vk.vkCmdPushConstants(commands, layout_, VK_SHADER_STAGE_COMPUTE_BIT, 0, push_bytes, push.data());
            vk.vkCmdDispatch(commands, workgroups, 1, 1);
        });
        if (!timing) return timing.status();
        return timing->ms;
    }

  private:
    const Device& device_;
    VkDescriptorSetLayout set_layout_ = VK_NULL_HANDLE;
    VkDescriptorPool pool_ = VK_NULL_HANDLE;
    VkDescriptorSet set_ = VK_NULL_HANDLE;
    VkPipelineLayout layout_ = VK_NULL_HANDLE;
    VkShaderModule module_ = VK_NULL_HANDLE;
    VkPipeline pipeline_ = VK_NULL_HANDLE;
};

struct Push {
    std::array<uint8_t, push_bytes> bytes{};
    template <class T>
    void put(size_t offset, T value) {
        std::memcpy(bytes.data() + offset, &value, sizeof value);
    }
};

// The least time of several passes within the budget.
template <class Pass>
Result<double> best_ms(double budget_ms, const Pass& pass) {
    double best = 0.0, spent = 0.0;
    for (int i = 0; i < max_passes && (i < min_passes || spent < budget_ms); i++) {
        auto ms = pass();
        if (!ms) return ms.status();
        best = i == 0 ? *ms : std::min(best, *ms);
        spent += *ms;
    }
    return best;
}

// A kernel of multiply-adds, and what one workgroup of it does.
struct MultiplyAdds {
    std::span<const uint32_t> words, constants;
    uint32_t subgroup_size = 0;
    uint32_t sums = local_size;  // floats that are stored
    uint64_t input_bytes = 16;
    double round_operations = 0.0;
};

// GFLOP/s. The number of rounds grows until a dispatch is long enough to be measured.
Result<double> multiply_adds(const Device& device, const MultiplyAdds& what, double budget_ms) {
    const bool software = device.info().type == VK_PHYSICAL_DEVICE_TYPE_CPU;
    const uint32_t workgroups = software ? 64 : 16384;
    auto sums = Buffer::create(device, uint64_t{workgroups} * what.sums * sizeof(float));
    if (!sums) return sums.status();
    Kernel kernel(device);
    if (Status status = kernel.create(what.words, what.constants, what.subgroup_size); !status.ok()) return status;
    auto inputs = Buffer::create(device, what.input_bytes);
    if (!inputs) return inputs.status();
    if (Status status = inputs->fill(0x3c003c00u); !status.ok()) return status;  // small positive 16-bit numbers
    kernel.bind(*sums, *inputs);
    Push push;
    push.put(0, 0.75f);
    push.put(4, 0.125f);
    const auto run = [&](uint32_t rounds) {
        push.put(8, rounds);
        return kernel.run(workgroups, push.bytes);
    };
    if (auto warm_up = run(1); !warm_up) return warm_up.status();  // drivers compile at the first submit
    constexpr uint32_t max_rounds = 1u << 22;
    uint32_t rounds = 8;
    while (rounds < max_rounds) {
        auto ms = run(rounds);
        if (!ms) return ms.status();
        if (*ms >= long_enough_ms) break;
        rounds *= 2;
    }
    auto ms = best_ms(budget_ms, [&] { return run(rounds); });
    if (!ms) return ms.status();
    return what.round_operations * rounds * static_cast<double>(workgroups) / *ms * 1e-6;
}

Result<double> scalar_multiply_adds(const Device& device, std::span<const uint32_t> words, uint32_t lanes,
                                    double budget_ms) {
    MultiplyAdds what;
    what.words = words;
    what.round_operations = 2.0 * chains * steps * lanes * local_size;
    return multiply_adds(device, what, budget_ms);
}

// One shape of matrices, by the fastest of the subgroup sizes that a pipeline may have.
Result<double> matrix_multiply_adds(const Device& device, const Capabilities& capabilities, const MatrixShape& shape,
                                    double budget_ms) {
    MultiplyAdds what;
    what.words = shape.type == ElementType::bf16 ? std::span<const uint32_t>(matrix_multiply_add_bf16)
                                                 : std::span<const uint32_t>(matrix_multiply_add_f16);
    what.sums = shape.m * shape.n;
    what.input_bytes = uint64_t{16} * shape.k * (shape.m + shape.n);
    what.round_operations = 2.0 * matrix_chains * matrix_steps * shape.m * shape.n * shape.k;
    double best = 0.0;
    const bool can_require = capabilities.features.required_subgroup_size && capabilities.max_subgroup_size != 0;
    uint32_t size = can_require ? capabilities.min_subgroup_size : capabilities.subgroup_size;
    const uint32_t last = can_require ? capabilities.max_subgroup_size : size;
    for (; size <= last && size <= capabilities.max_invocations; size *= 2) {
        const uint32_t constants[] = {size, shape.m, shape.n, shape.k};
        what.constants = constants;
        what.subgroup_size = can_require ? size : 0;
        auto gflops = multiply_adds(device, what, budget_ms);
        if (!gflops) return gflops.status();
        best = std::max(best, *gflops);
    }
    return best;
}

Status matrices(const Device& device, const Capabilities& capabilities, double budget_ms, DeviceLimits& limits) {
    // Sizes by specialization constants are not for every driver, and not every shape is worth its time.
    constexpr int max_shapes = 4;
    if (!capabilities.features.cooperative_matrix || capabilities.literal_matrix_sizes) return {};
    for (const ElementType type : {ElementType::f16, ElementType::bf16}) {
        MatrixLimit limit;
        int measured = 0;
        for (const MatrixShape& shape : capabilities.matrix_shapes) {
            if (shape.type != type || measured++ >= max_shapes) continue;
            auto gflops = matrix_multiply_adds(device, capabilities, shape, budget_ms);
            if (!gflops) return gflops.status();
            if (*gflops > limit.gflops) limit = {shape, *gflops};
        }
        if (limit.gflops > 0.0) limits.matrix.push_back(limit);
    }
    return {};
}

VkDeviceAddress address_of(const Device& device, const Buffer& buffer) {
    VkBufferDeviceAddressInfo info{};
    info.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO;
    info.buffer = buffer.handle();
    return device.vk().vkGetBufferDeviceAddress(device.handle(), &info);
}

Status stream(const Device& device, double budget_ms, DeviceLimits& limits) {
    limits.through_addresses = device.enabled().buffer_device_address;
    const uint64_t wanted = limits.through_addresses ? stream_bytes_by_address : stream_bytes_by_binding;
    const auto workgroups = static_cast<uint32_t>(std::min<uint64_t>(wanted / piece_bytes, max_workgroups));
    limits.stream_bytes = workgroups * piece_bytes;
    auto source = Buffer::create(device, limits.stream_bytes), target = Buffer::create(device, limits.stream_bytes);
    if (!source) return source.status();
    if (!target) return target.status();
    for (Buffer* buffer : {&*source, &*target})  // memory that was never written may not be there yet
        if (Status status = buffer->fill(0x3f800000u); !status.ok()) return status;
    Push push;
    push.put(16, piece);
    if (limits.through_addresses) {
        push.put(0, address_of(device, *source));
        push.put(8, address_of(device, *target));
    }
    const std::span<const uint32_t> words = limits.through_addresses ? std::span<const uint32_t>(stream_address)
                                                                     : std::span<const uint32_t>(stream_binding);
    const auto keep_best = [&](double& gb_per_s, double passes, const std::function<Result<double>()>& run) -> Status {
        constexpr double hopeless = 4.0;  // times slower in its first pass: measured no further
        const auto rate = [&](double ms) { return passes * static_cast<double>(limits.stream_bytes) / ms * 1e-6; };
        auto warm_up = run();
        if (!warm_up) return warm_up.status();
        if (gb_per_s > hopeless * rate(*warm_up)) return {};
        auto ms = best_ms(budget_ms, run);
        if (!ms) return ms.status();
        gb_per_s = std::max(gb_per_s, rate(*ms));
        return {};
    };
    VkPhysicalDeviceSubgroupProperties subgroup{};
    subgroup.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES;
    VkPhysicalDeviceProperties2 properties{};
    properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
    properties.pNext = &subgroup;
    vkGetPhysicalDeviceProperties2(device.info().handle, &properties);
    for (const Walk walk : {Walk::shared, Walk::together, Walk::side_by_side, Walk::copy}) {
        // A subgroup shares words where its size divides a step of the kernel.
        const bool can_share =
            subgroup.subgroupSize >= 4 && subgroup.subgroupSize <= 128 && std::has_single_bit(subgroup.subgroupSize);
        if (walk == Walk::shared && !can_share) continue;
        Kernel kernel(device);
        const uint32_t size = walk == Walk::shared     ? subgroup.subgroupSize
                              : walk == Walk::together ? together_size
                                                       : local_size;
        const uint32_t constants[] = {size, static_cast<uint32_t>(walk)};
        if (Status status = kernel.create(words, constants); !status.ok()) return status;
        kernel.bind(*source, *target);
        const bool copies = walk == Walk::copy;
        if (Status status = keep_best(copies ? limits.copy_gb_per_s : limits.read_gb_per_s, copies ? 2.0 : 1.0,
                                      [&] { return kernel.run(workgroups, push.bytes); });
            !status.ok())
            return status;
    }
    return keep_best(limits.copy_gb_per_s, 2.0, [&]() -> Result<double> {
        auto timing = support::submit_timed(device, [&](VkCommandBuffer commands) {
            const VkBufferCopy region{0, 0, limits.stream_bytes};
            device.vk().vkCmdCopyBuffer(commands, source->handle(), target->handle(), 1, &region);
        });
        if (!timing) return timing.status();
        return timing->ms;
    });
}

}  // namespace

Result<DeviceLimits> measure_limits(const Device& device, const Capabilities& capabilities, double budget_ms) {
    DeviceLimits limits;
    auto f32 = scalar_multiply_adds(device, multiply_add_f32, 1, budget_ms);
    if (!f32) return f32.status();
    limits.f32_gflops = *f32;
    if (device.has_shader_float16()) {
        auto f16 = scalar_multiply_adds(device, multiply_add_f16, 2, budget_ms);
        if (!f16) return f16.status();
        limits.f16_gflops = *f16;
    }
    if (Status status = matrices(device, capabilities, budget_ms, limits); !status.ok()) return status;
    if (Status status = stream(device, budget_ms, limits); !status.ok()) return status;
    return limits;
}

DeviceLimits best_of(const DeviceLimits& a, const DeviceLimits& b) {
    DeviceLimits best = a;
    best.f32_gflops = std::max(a.f32_gflops, b.f32_gflops);
    if (a.f16_gflops && b.f16_gflops) best.f16_gflops = std::max(*a.f16_gflops, *b.f16_gflops);
    for (MatrixLimit& limit : best.matrix)
        for (const MatrixLimit& other : b.matrix)
            if (other.shape.type == limit.shape.type && other.gflops > limit.gflops) limit = other;
    best.read_gb_per_s = std::max(a.read_gb_per_s, b.read_gb_per_s);
    best.copy_gb_per_s = std::max(a.copy_gb_per_s, b.copy_gb_per_s);
    return best;
}

}  // namespace vkattn::bench
