// Engine::create: adopt the host's device and learn what it can do.
#include <algorithm>
#include <cstdio>

#include "cores.h"
#include "engine_impl.h"

namespace vkattn {
namespace {

std::string hex(const uint8_t* bytes, size_t count) {
    std::string text;
    char buffer[3];
    for (size_t i = 0; i < count; i++) {
        std::snprintf(buffer, sizeof buffer, "%02x", bytes[i]);
        text += buffer;
    }
    return text;
}

template <class T>
T lowered(T device_limit, T override_limit) {
    return override_limit == 0 ? device_limit : std::min(device_limit, override_limit);
}

Status check_host(const HostDevice& host) {
    if (host.struct_size != sizeof(HostDevice))
        return error(Code::invalid_argument,
                     "HostDevice::struct_size is not sizeof(HostDevice): header and library are of different versions");
    if (host.physical_device == VK_NULL_HANDLE)
        return error(Code::invalid_argument, "HostDevice::physical_device is null");
    return {};
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::create(const HostDevice& host, const EngineOptions& options) {
    if (Status status = check_host(host); !status.ok()) return status;
    auto impl = std::make_unique<EngineImpl>();
    auto instance_functions = load_instance_functions(host.instance, host.get_instance_proc_addr);
    if (!instance_functions) return instance_functions.status();
    auto functions = load_device_functions(*instance_functions, host.device);
    if (!functions) return functions.status();
    impl->instance_functions = *instance_functions;
    impl->functions = *functions;
    impl->options = options;

    auto devices = list_devices(host.instance, host.get_instance_proc_addr);
    if (!devices) return devices.status();
    const auto device = std::find_if(devices->begin(), devices->end(),
                                     [&](const DeviceInfo& d) { return d.handle == host.physical_device; });
    if (device == devices->end())
        return error(Code::unsupported, "HostDevice::physical_device is not a Vulkan 1.1 device of the instance");
    auto offered = requirements(host.instance, host.get_instance_proc_addr, host.physical_device);
    if (!offered) return offered.status();

    VkPhysicalDeviceIDProperties id{};
    id.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES;
    VkPhysicalDeviceSubgroupProperties subgroup{};
    subgroup.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES;
    subgroup.pNext = &id;
    VkPhysicalDeviceSubgroupSizeControlProperties sizes{};
    sizes.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES;
    if (offered->features.required_subgroup_size) id.pNext = &sizes;
    VkPhysicalDeviceProperties2 properties{};
    properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
    properties.pNext = &subgroup;
    impl->instance_functions.vkGetPhysicalDeviceProperties2(host.physical_device, &properties);
    const VkPhysicalDeviceLimits& limits = properties.properties.limits;

    Capabilities& c = impl->capabilities;
    c.device = *device;
    c.features = usable(offered->features, host.enabled);
    if (impl->functions.vkGetBufferDeviceAddress == nullptr) c.features.buffer_device_address = false;
    const bool lacks_int64 = offered->features.int64_addresses && c.features.buffer_device_address &&
                             (!c.features.int64_addresses || options.compiler == nullptr);
    if (lacks_int64) c.features.buffer_device_address = false;
    c.matrices_usable = offered->matrices_usable;
    c.literal_matrix_sizes = offered->literal_matrix_sizes;
    for (const MatrixShape& shape : offered->matrix_shapes)
        if (c.features.cooperative_matrix && (shape.type != ElementType::bf16 || c.features.matrix_bf16))
            c.matrix_shapes.push_back(shape);
    for (const WorkgroupMatrices& matrices : offered->workgroup_matrices)
        if (c.features.workgroup_matrices && (matrices.type != ElementType::bf16 || c.features.matrix_bf16))
            c.workgroup_matrices.push_back(matrices);
    c.max_workgroup_matrix_dim = offered->max_workgroup_matrix_dim;
    c.workgroup_matrix_shared_bytes = offered->workgroup_matrix_shared_bytes;
    c.software = device->type == VK_PHYSICAL_DEVICE_TYPE_CPU;
    c.subgroup_size = subgroup.subgroupSize;
    if (c.features.required_subgroup_size) {
        c.min_subgroup_size = sizes.minSubgroupSize;
        c.max_subgroup_size = sizes.maxSubgroupSize;
        c.max_workgroup_subgroups = sizes.maxComputeWorkgroupSubgroups;
    }
    c.max_shared_bytes = lowered(limits.maxComputeSharedMemorySize, options.limits.max_shared_bytes);
    c.max_invocations = lowered(std::min(limits.maxComputeWorkGroupInvocations, limits.maxComputeWorkGroupSize[0]),
                                options.limits.max_invocations);
    c.max_workgroups = lowered(limits.maxComputeWorkGroupCount[0], options.limits.max_workgroups);
    c.cores = lowered(count_cores(impl->instance_functions, c.device), options.limits.cores);
    c.max_storage_buffer_range =
        lowered<uint64_t>(limits.maxStorageBufferRange, options.limits.max_storage_buffer_range);
    c.storage_offset_alignment = std::max<uint64_t>(limits.minStorageBufferOffsetAlignment, 4);
    c.reasons = offered->reasons;
    if (offered->features.buffer_device_address && !host.enabled.buffer_device_address)
        c.reasons.push_back(
            "bufferDeviceAddress is offered but the host did not enable it: buffers are reached through descriptors");
    if (lacks_int64)
        c.reasons.push_back(
            "addresses need shaderInt64 enabled (Features::int64_addresses) and a run-time compiler here: "
            "buffers are reached through descriptors");
    if (offered->features.scalar_subgroup && !c.features.scalar_subgroup)
        c.reasons.push_back(
            "subgroup shuffles and arithmetic are offered but HostDevice::enabled leaves scalar_subgroup "
            "out: rows are reduced through shared memory");
    if (offered->features.subgroup_size_control && !c.features.subgroup_size_control)
        c.reasons.push_back("computeFullSubgroups is offered but the host did not enable it: rows are reduced through "
                            "shared memory, except on software devices");
    if (offered->features.cooperative_matrix && !c.features.cooperative_matrix)
        c.reasons.push_back("cooperative matrices and full subgroups are offered but the host did not enable both: "
                            "matrices are not used");
    if (limits.maxPerStageDescriptorStorageBuffers < binding_count ||
        limits.maxDescriptorSetStorageBuffers < binding_count)
        return error(Code::unsupported,
                     "the device binds " + std::to_string(limits.maxPerStageDescriptorStorageBuffers) +
                         " storage buffers a stage; the engine's descriptor set has " + std::to_string(binding_count));
    c.device_key = hex(properties.properties.pipelineCacheUUID, VK_UUID_SIZE) + "-" +
                   std::to_string(properties.properties.driverVersion) + "-" + c.device.name + "-" +
                   std::to_string(c.subgroup_size);
    c.cache_key = c.device_key + "-" + (c.features.buffer_device_address ? "a" : "") +
                  (c.features.int64_addresses ? "i" : "") + (c.features.subgroup_size_control ? "f" : "") +
                  (c.features.required_subgroup_size ? "r" : "") + (c.features.cooperative_matrix ? "m" : "") +
                  (c.features.cooperative_matrix2 ? "2" : "") + (c.features.workgroup_matrices ? "w" : "") +
                  (c.features.matrix_bf16 ? "b" : "");

    if (options.tuning != nullptr) impl->tuning_mismatch = tuning_mismatch(options.tuning->identity, c);

    impl->host = host;  // from here on the destructor has something to destroy
    if (Status status = impl->create_layouts(); !status.ok()) return status;
    if (Status status = impl->create_pipeline_cache(); !status.ok()) return status;
    return std::unique_ptr<Engine>(new Engine(std::move(impl)));
}

Engine::Engine(std::unique_ptr<EngineImpl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

const Capabilities& Engine::capabilities() const { return impl_->capabilities; }
Result<Plan> Engine::plan(const Problem& problem) { return make_plan(impl_, problem); }
Result<std::vector<KernelSizes>> Engine::neighbours(const Problem& problem, const KernelSizes& from) const {
    return plan_neighbours(*impl_, problem, from);
}
uint64_t Engine::pipelines_created() const { return impl_->pipelines_created; }

}  // namespace vkattn
