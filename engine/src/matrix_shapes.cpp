#include "matrix_shapes.h"

#include <bit>

namespace vkattn {
namespace {

std::string shape_text(const VkCooperativeMatrixPropertiesKHR& p) {
    return std::to_string(p.MSize) + "x" + std::to_string(p.NSize) + "x" + std::to_string(p.KSize);
}

// A and B of one 16-bit type, accumulated in f32 by a subgroup, of sizes that attention_khr.comp can stage.
bool is_usable(const VkCooperativeMatrixPropertiesKHR& p, VkComponentTypeKHR type) {
    const auto staged = [](uint32_t size) { return size >= 8 && size <= 64 && std::has_single_bit(size); };
    return p.scope == VK_SCOPE_SUBGROUP_KHR && p.AType == type && p.BType == type &&
           p.CType == VK_COMPONENT_TYPE_FLOAT32_KHR && p.ResultType == VK_COMPONENT_TYPE_FLOAT32_KHR &&
           p.saturatingAccumulation == VK_FALSE && staged(p.MSize) && staged(p.NSize) && staged(p.KSize);
}

std::vector<VkCooperativeMatrixPropertiesKHR> all_shapes(const InstanceFunctions& functions,
                                                         VkPhysicalDevice physical_device) {
    uint32_t count = 0;
    if (functions.vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR(physical_device, &count, nullptr) != VK_SUCCESS)
        return {};
    VkCooperativeMatrixPropertiesKHR empty{};
    empty.sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR;
    std::vector<VkCooperativeMatrixPropertiesKHR> shapes(count, empty);
    const VkResult result =
        functions.vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR(physical_device, &count, shapes.data());
    if (result != VK_SUCCESS && result != VK_INCOMPLETE) return {};
    shapes.resize(count);
    return shapes;
}

std::vector<VkCooperativeMatrixFlexibleDimensionsPropertiesNV> all_flexible(const InstanceFunctions& functions,
                                                                            VkPhysicalDevice physical_device) {
    const auto ask = functions.vkGetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV;
    uint32_t count = 0;
    if (ask == nullptr || ask(physical_device, &count, nullptr) != VK_SUCCESS) return {};
    VkCooperativeMatrixFlexibleDimensionsPropertiesNV empty{};
    empty.sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_FLEXIBLE_DIMENSIONS_PROPERTIES_NV;
    std::vector<VkCooperativeMatrixFlexibleDimensionsPropertiesNV> flexible(count, empty);
    const VkResult result = ask(physical_device, &count, flexible.data());
    if (result != VK_SUCCESS && result != VK_INCOMPLETE) return {};
    flexible.resize(count);
    return flexible;
}

// A and B of one 16-bit type, accumulated in f32 by workgroups of a power of two, in steps that sizes of 8 to 64 can be multiples of.
bool is_usable(const VkCooperativeMatrixFlexibleDimensionsPropertiesNV& p, VkComponentTypeKHR type) {
    const auto steps = [](uint32_t size) { return size <= 64 && std::has_single_bit(size); };
    return p.scope == VK_SCOPE_WORKGROUP_KHR && p.AType == type && p.BType == type &&
           p.CType == VK_COMPONENT_TYPE_FLOAT32_KHR && p.ResultType == VK_COMPONENT_TYPE_FLOAT32_KHR &&
           p.saturatingAccumulation == VK_FALSE && steps(p.MGranularity) && steps(p.NGranularity) &&
           steps(p.KGranularity) && std::has_single_bit(p.workgroupInvocations);
}

// Where the device has reductions, conversions and per-element operations.
void require_workgroup_matrices(const InstanceFunctions& functions, VkPhysicalDevice physical_device,
                                const VkPhysicalDeviceCooperativeMatrix2FeaturesNV& offered, bool bf16,
                                Requirements& wanted) {
    const auto refuse = [&](const std::string& why) {
        wanted.reasons.push_back("no matrices of workgroups (" + why + "): nv uses those of subgroups");
    };
    if (offered.cooperativeMatrixWorkgroupScope != VK_TRUE || offered.cooperativeMatrixFlexibleDimensions != VK_TRUE ||
        offered.cooperativeMatrixTensorAddressing != VK_TRUE)
        return refuse("cooperativeMatrixWorkgroupScope, cooperativeMatrixFlexibleDimensions and "
                      "cooperativeMatrixTensorAddressing are not offered together");
    VkPhysicalDeviceCooperativeMatrix2PropertiesNV limits{};
    limits.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_2_PROPERTIES_NV;
    VkPhysicalDeviceProperties2 properties{};
    properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
    properties.pNext = &limits;
    functions.vkGetPhysicalDeviceProperties2(physical_device, &properties);
    for (const VkCooperativeMatrixFlexibleDimensionsPropertiesNV& p : all_flexible(functions, physical_device)) {
        if (p.workgroupInvocations > limits.cooperativeMatrixWorkgroupScopeMaxWorkgroupSize) continue;
        const bool half = is_usable(p, VK_COMPONENT_TYPE_FLOAT16_KHR);
        if (half || (bf16 && is_usable(p, VK_COMPONENT_TYPE_BFLOAT16_KHR)))
            wanted.workgroup_matrices.push_back({p.MGranularity, p.NGranularity, p.KGranularity, p.workgroupInvocations,
                                                 half ? ElementType::f16 : ElementType::bf16});
    }
    if (wanted.workgroup_matrices.empty()) return refuse("none multiplies f16 or bf16 into f32");
    wanted.features.workgroup_matrices = true;
    wanted.max_workgroup_matrix_dim = limits.cooperativeMatrixFlexibleDimensionsMaxDimension;
    wanted.workgroup_matrix_shared_bytes = limits.cooperativeMatrixWorkgroupScopeReservedSharedMemory;
}

}  // namespace

void require_matrices(const InstanceFunctions& functions, VkPhysicalDevice physical_device, uint32_t api_version,
                      const std::function<bool(const char*)>& has_extension, Requirements& wanted) {
    if (!wanted.matrices_usable) return;  // the driver's bug is among the reasons
    const auto refuse = [&](const std::string& why) { wanted.reasons.push_back(why + ": matrices are not used"); };
    if (!has_extension(VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME) ||
        functions.vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR == nullptr)
        return refuse("the device does not offer VK_KHR_cooperative_matrix");
    const auto known = [&](const char* extension) {
        return api_version >= VK_API_VERSION_1_2 || has_extension(extension);
    };
    if (!known(VK_KHR_VULKAN_MEMORY_MODEL_EXTENSION_NAME) || !known(VK_KHR_SHADER_FLOAT16_INT8_EXTENSION_NAME))
        return refuse("the device does not offer VK_KHR_vulkan_memory_model and VK_KHR_shader_float16_int8");
    const bool matrix2_known =
        api_version >= VK_API_VERSION_1_3 && has_extension(VK_NV_COOPERATIVE_MATRIX_2_EXTENSION_NAME);
    const bool bfloat16_known = has_extension(VK_KHR_SHADER_BFLOAT16_EXTENSION_NAME);

    VkPhysicalDeviceShaderBfloat16FeaturesKHR bfloat16{};
    bfloat16.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_BFLOAT16_FEATURES_KHR;
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrices{};
    matrices.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR;
    VkPhysicalDeviceCooperativeMatrix2FeaturesNV matrices2{};
    matrices2.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_2_FEATURES_NV;
    if (bfloat16_known) matrices.pNext = &bfloat16;
    VkPhysicalDeviceMaintenance4Features maintenance4{};
    maintenance4.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_FEATURES;
    if (matrix2_known) {
        maintenance4.pNext = matrices.pNext;
        matrices2.pNext = &maintenance4;
        matrices.pNext = &matrices2;
    }
    VkPhysicalDeviceShaderFloat16Int8Features float16{};
    float16.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES;
    float16.pNext = &matrices;
    VkPhysicalDeviceVulkanMemoryModelFeatures memory_model{};
    memory_model.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_MEMORY_MODEL_FEATURES;
    memory_model.pNext = &float16;
    VkPhysicalDeviceFeatures2 features{};
    features.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
    features.pNext = &memory_model;
    functions.vkGetPhysicalDeviceFeatures2(physical_device, &features);
    if (matrices.cooperativeMatrix != VK_TRUE) return refuse("cooperativeMatrix is not offered");
    // With the memory model enabled, the other kernels' atomics of device scope want its feature, too.
    if (memory_model.vulkanMemoryModel != VK_TRUE || memory_model.vulkanMemoryModelDeviceScope != VK_TRUE)
        return refuse("vulkanMemoryModel and vulkanMemoryModelDeviceScope are not offered");
    if (float16.shaderFloat16 != VK_TRUE) return refuse("shaderFloat16 is not offered");
    // The kernel's lanes take rows by the numbers of full subgroups.
    if (!wanted.features.subgroup_size_control) return refuse("full subgroups cannot be required");
    if (!wanted.features.scalar_subgroup) return refuse("no subgroup shuffles and arithmetic in compute shaders");

    const bool bf16 =
        bfloat16_known && bfloat16.shaderBFloat16Type == VK_TRUE && bfloat16.shaderBFloat16CooperativeMatrix == VK_TRUE;
    std::string others;
    for (const VkCooperativeMatrixPropertiesKHR& p : all_shapes(functions, physical_device)) {
        if (is_usable(p, VK_COMPONENT_TYPE_FLOAT16_KHR))
            wanted.matrix_shapes.push_back({p.MSize, p.NSize, p.KSize, ElementType::f16});
        else if (bf16 && is_usable(p, VK_COMPONENT_TYPE_BFLOAT16_KHR))
            wanted.matrix_shapes.push_back({p.MSize, p.NSize, p.KSize, ElementType::bf16});
        else others += (others.empty() ? "" : ", ") + shape_text(p);
    }
    const auto has_type = [&](ElementType type) {
        for (const MatrixShape& shape : wanted.matrix_shapes)
            if (shape.type == type) return true;
        return false;
    };
    if (wanted.matrix_shapes.empty())
        return refuse("no shape multiplies f16 or bf16 into f32 at subgroup scope" +
                      (others.empty() ? "" : "; the device has, of other types, " + others));
    wanted.features.cooperative_matrix = true;
    wanted.features.cooperative_matrix2 =
        matrices2.cooperativeMatrixReductions == VK_TRUE && matrices2.cooperativeMatrixConversions == VK_TRUE &&
        matrices2.cooperativeMatrixPerElementOperations == VK_TRUE && maintenance4.maintenance4 == VK_TRUE;
    if (wanted.features.cooperative_matrix2) {
        wanted.extensions.push_back(VK_NV_COOPERATIVE_MATRIX_2_EXTENSION_NAME);
        require_workgroup_matrices(functions, physical_device, matrices2, has_type(ElementType::bf16), wanted);
    } else {
        wanted.reasons.push_back(
            "no reductions, conversions and per-element operations on matrices "
            "(VK_NV_cooperative_matrix2, Vulkan 1.3): softmax of matrices goes through shared memory");
    }
    wanted.features.matrix_bf16 = has_type(ElementType::bf16);
    wanted.extensions.push_back(VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME);
    if (api_version < VK_API_VERSION_1_2) {
        wanted.extensions.push_back(VK_KHR_VULKAN_MEMORY_MODEL_EXTENSION_NAME);
        wanted.extensions.push_back(VK_KHR_SHADER_FLOAT16_INT8_EXTENSION_NAME);
    }
    if (wanted.features.matrix_bf16) wanted.extensions.push_back(VK_KHR_SHADER_BFLOAT16_EXTENSION_NAME);
    else wanted.reasons.push_back("no matrices of bf16 (VK_KHR_shader_bfloat16): bf16 is computed without matrices");
}

}  // namespace vkattn
