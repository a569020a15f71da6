#include "emitted_batch.h"

#include <algorithm>
#include <cstring>

#include <doctest/doctest.h>

#include "../../shaders/include/params.h"
#include "vkattn/shader_sources.h"
#include "vkattn/shaderc_compiler.h"

namespace vkattn_tests {
namespace {

using namespace vkattn;

// A slot's specialization constant in the shader of many hooks: hook i owns the ids from first_constant + i * constants_per_hook.
constexpr uint32_t first_constant = 64;
constexpr uint32_t constants_per_hook = 64;

const char* shell_begin = R"(#version 450
#extension GL_GOOGLE_include_directive : require
#include "params.h"
layout(local_size_x = 64) in;
layout(std430, binding = 0) readonly buffer Cases { AttentionParams cases[]; };
layout(std430, binding = 1) readonly buffer Tables { uint table_words[]; };
layout(std430, binding = 2) buffer Results { uint results[]; };
struct KeyRange { int lo_any; int hi_any; int lo_all; int hi_all; };
uint tables_word(uint word_index) { return table_words[word_index]; }
)";

const char* shell_main = R"(
void main() {
    uint pair = gl_GlobalInvocationID.x;
    uint n_pairs = uint(cases[0].batch * cases[0].q_heads * cases[0].q_len * cases[0].kv_len);
    if (pair >= n_pairs) return;
    uint row_index = pair / uint(cases[0].kv_len);
    int kv = int(pair % uint(cases[0].kv_len));
    int q = int(row_index % uint(cases[0].q_len));
    uint head = row_index / uint(cases[0].q_len);
    int h = int(head % uint(cases[0].q_heads));
    int b = int(head / uint(cases[0].q_heads));
    float score = float(int(pair * 7u % 97u) - 48) * 0.375;
    uint per_case = 6u * n_pairs;
    switch (gl_WorkGroupID.y) {
)";

// The words of a table in the tables buffer.
void append(std::vector<uint32_t>& words, const TableData& table) {
    for (const int32_t value : table.i32) words.push_back(static_cast<uint32_t>(value));
    for (const float value : table.f32) {
        uint32_t bits = 0;
        std::memcpy(&bits, &value, sizeof bits);
        words.push_back(bits);
    }
    for (size_t i = 0; i < table.boolean.size(); ++i) {
        if (i % 4 == 0) words.push_back(0);
        words.back() |= uint32_t{table.boolean[i]} << (8 * (i % 4));
    }
}

struct Batch {
    std::string source;
    std::vector<AttentionParams> params;
    std::vector<uint32_t> tables{0xdeadbeefu};  // offset 0 is nobody's
    std::vector<VkSpecializationMapEntry> constants;
    std::vector<uint32_t> constant_values;
};

void add_tables(Batch& batch, AttentionParams& params, uint32_t first, const ResolvedBindings& bindings) {
    for (size_t i = 0; i < bindings.tables.size(); ++i) {
        const TableData& table = *bindings.tables[i];
        int32_t dims[4] = {1, 1, 1, 1};
        for (size_t d = 0; d < table.dims.size(); ++d) dims[d] = static_cast<int32_t>(table.dims[d]);
        params.tables_info[first + i] = {
            static_cast<uint32_t>(batch.tables.size()), dims[0], dims[1], dims[2], dims[3], 0, 0, 0};
        append(batch.tables, table);
    }
}

void add_case(Batch& batch, const Shape& shape, const EmittedCase& c, size_t index) {
    Result<EmittedHook> hook = emit_hook(*c.mask, *c.score_mod);
    REQUIRE_MESSAGE(hook.ok(), c.what << ": " << hook.status().message);
    const Result<ResolvedBindings> of_mask = resolve(*c.mask, c.bindings);
    const Result<ResolvedBindings> of_score = resolve(*c.score_mod, c.bindings);
    REQUIRE_MESSAGE(of_mask.ok(), c.what << ": " << of_mask.status().message);
    REQUIRE_MESSAGE(of_score.ok(), c.what << ": " << of_score.status().message);
    REQUIRE(hook->specialised.size() <= constants_per_hook);
    REQUIRE(hook->n_slots <= PARAMS_MAX_SLOTS);
    REQUIRE(hook->n_tables <= PARAMS_MAX_TABLES);

    AttentionParams params{};
    params.batch = shape.batch;
    params.q_heads = shape.q_heads;
    params.kv_heads = shape.kv_heads;
    params.q_len = shape.q_len;
    params.kv_len = shape.kv_len;
    add_tables(batch, params, 0, *of_mask);
    add_tables(batch, params, static_cast<uint32_t>(of_mask->tables.size()), *of_score);
    std::vector<uint32_t> slots = slot_values(*c.mask, *of_mask);
    const std::vector<uint32_t> score_slots = slot_values(*c.score_mod, *of_score);
    slots.insert(slots.end(), score_slots.begin(), score_slots.end());
    REQUIRE(slots.size() == hook->n_slots);
    const uint32_t first = first_constant + static_cast<uint32_t>(index) * constants_per_hook;
    for (size_t i = 0; i < hook->specialised.size(); ++i) {
        batch.constants.push_back(
            {first + static_cast<uint32_t>(i), static_cast<uint32_t>(4 * batch.constant_values.size()), 4});
        batch.constant_values.push_back(slots[hook->specialised[i]]);
        slots[hook->specialised[i]] = 0x7eadbeefu;  // a place that is never read
    }
    std::copy(slots.begin(), slots.end(), params.slots);
    batch.params.push_back(params);

    std::vector<std::string> names = {"MaskRow",   "MaskCol",    "mask_row",      "mask_col",
                                      "mask_pair", "score_pair", "mask_row_range"};
    for (size_t i = 0; i < hook->specialised.size(); ++i) names.push_back("mask_spec_" + std::to_string(i));
    const std::string number = std::to_string(index);
    std::string undo = "#undef HAS_MASK_MOD\n#undef HAS_SCORE_MOD\n#undef params\n#undef SPEC_MASK_FIRST\n";
    batch.source += "#define params cases[" + number + "]\n#define SPEC_MASK_FIRST " + std::to_string(first) + "\n";
    for (const std::string& name : names) {
        batch.source += "#define " + name + " " + name + "_of" + number + "\n";
        undo += "#undef " + name + "\n";
    }
    batch.source += hook->glsl + undo;
}

std::string main_of(size_t cases) {
    std::string text = shell_main;
    for (size_t i = 0; i < cases; ++i) {
        const std::string n = "_of" + std::to_string(i);
        text +=
            "    case " + std::to_string(i) + "u: {\n        MaskRow" + n + " row = mask_row" + n +
            "(b, h, q);\n        MaskCol" + n + " col = mask_col" + n +
            "(b, h, kv);\n        uint at = " + std::to_string(i) + "u * per_case;\n" +
            "        results[at + pair] = uint(mask_pair" + n + "(row, col, b, h, q, kv));\n" +
            "        results[at + n_pairs + pair] = floatBitsToUint(score_pair" + n +
            "(row, col, score, b, h, q, kv));\n" + "        if (kv == 0) {\n            KeyRange r = mask_row_range" +
            n + "(row, b, h, q);\n" +
            "            uint to = at + 2u * n_pairs + 4u * row_index;\n            results[to] = uint(r.lo_any);\n" +
            "            results[to + 1u] = uint(r.hi_any);\n            results[to + 2u] = uint(r.lo_all);\n" +
            "            results[to + 3u] = uint(r.hi_all);\n        }\n        break;\n    }\n";
    }
    return text + "    }\n}\n";
}

void require_success(VkResult result, const char* what) {
    REQUIRE_MESSAGE(result == VK_SUCCESS, what << " gave VkResult " << result);
}

// Everything of one dispatch; destroyed before the buffers are.
class Dispatch {
  public:
    Dispatch(VulkanContext& context, const std::vector<uint32_t>& spirv, const Batch& batch,
             const DeviceBuffer* (&buffers)[3])
        : context_(context) {
        VkShaderModuleCreateInfo module_info{};
        module_info.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO;
        module_info.codeSize = spirv.size() * 4;
        module_info.pCode = spirv.data();
        require_success(context.vk.vkCreateShaderModule(context.device, &module_info, nullptr, &module_),
                        "vkCreateShaderModule");
        VkDescriptorSetLayoutBinding bindings[3] = {};
        for (uint32_t i = 0; i < 3; ++i)
            bindings[i] = {i, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
        VkDescriptorSetLayoutCreateInfo set_info{};
        set_info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO;
        set_info.bindingCount = 3;
        set_info.pBindings = bindings;
        require_success(context.vk.vkCreateDescriptorSetLayout(context.device, &set_info, nullptr, &set_layout_),
                        "the set layout");
        VkPipelineLayoutCreateInfo layout_info{};
        layout_info.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO;
        layout_info.setLayoutCount = 1;
        layout_info.pSetLayouts = &set_layout_;
        require_success(context.vk.vkCreatePipelineLayout(context.device, &layout_info, nullptr, &layout_),
                        "the pipeline layout");
        const VkSpecializationInfo constants{static_cast<uint32_t>(batch.constants.size()), batch.constants.data(),
                                             4 * batch.constant_values.size(), batch.constant_values.data()};
        VkComputePipelineCreateInfo pipeline_info{};
        pipeline_info.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO;
        pipeline_info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
        pipeline_info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
        pipeline_info.stage.module = module_;
        pipeline_info.stage.pName = "main";
        pipeline_info.stage.pSpecializationInfo = &constants;
        pipeline_info.layout = layout_;
        require_success(
            context.vk.vkCreateComputePipelines(context.device, VK_NULL_HANDLE, 1, &pipeline_info, nullptr, &pipeline_),
            "vkCreateComputePipelines");
        const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 3};
        VkDescriptorPoolCreateInfo pool_info{};
        pool_info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO;
        pool_info.maxSets = 1;
        pool_info.poolSizeCount = 1;
        pool_info.pPoolSizes = &size;
        require_success(context.vk.vkCreateDescriptorPool(context.device, &pool_info, nullptr, &pool_),
                        "vkCreateDescriptorPool");
        VkDescriptorSetAllocateInfo set_allocate{};
        set_allocate.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO;
        set_allocate.descriptorPool = pool_;
        set_allocate.descriptorSetCount = 1;
        set_allocate.pSetLayouts = &set_layout_;
        require_success(context.vk.vkAllocateDescriptorSets(context.device, &set_allocate, &set_),
                        "vkAllocateDescriptorSets");
        VkDescriptorBufferInfo ranges[3] = {};
        VkWriteDescriptorSet writes[3] = {};
        for (uint32_t i = 0; i < 3; ++i) {
            ranges[i] = {buffers[i]->handle, 0, VK_WHOLE_SIZE};
            writes[i].sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
            writes[i].dstSet = set_;
            writes[i].dstBinding = i;
            writes[i].descriptorCount = 1;
            writes[i].descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
            writes[i].pBufferInfo = &ranges[i];
        }
        context.vk.vkUpdateDescriptorSets(context.device, 3, writes, 0, nullptr);
    }

    ~Dispatch() {
        context_.vk.vkDestroyDescriptorPool(context_.device, pool_, nullptr);
        context_.vk.vkDestroyPipeline(context_.device, pipeline_, nullptr);
        context_.vk.vkDestroyPipelineLayout(context_.device, layout_, nullptr);
        context_.vk.vkDestroyDescriptorSetLayout(context_.device, set_layout_, nullptr);
        context_.vk.vkDestroyShaderModule(context_.device, module_, nullptr);
    }
    Dispatch(const Dispatch&) = delete;
    Dispatch& operator=(const Dispatch&) = delete;

    void run(uint32_t groups_x, uint32_t groups_y) {
        const VkCommandBuffer commands = context_.begin();
        context_.vk.vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline_);
        context_.vk.vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout_, 0, 1, &set_, 0, nullptr);
        context_.vk.vkCmdDispatch(commands, groups_x, groups_y, 1);
        context_.submit_and_wait(commands);
    }

  private:
    VulkanContext& context_;
    VkShaderModule module_ = VK_NULL_HANDLE;
    VkDescriptorSetLayout set_layout_ = VK_NULL_HANDLE;
    VkPipelineLayout layout_ = VK_NULL_HANDLE;
    VkPipeline pipeline_ = VK_NULL_HANDLE;
    VkDescriptorPool pool_ = VK_NULL_HANDLE;
    VkDescriptorSet set_ = VK_NULL_HANDLE;
};

std::vector<uint32_t> compiled(const std::string& source) {
    SourceSet includes;
    for (const ShaderSource& shader : shader_sources())
        includes.emplace(std::string(shader.name), std::string(shader.text));
    CompileJob job;
    job.name = "emitted_batch.comp";
    job.source = source;
    job.includes = &includes;
    const auto compiler = make_shaderc_compiler();
    REQUIRE(compiler != nullptr);
    Result<std::vector<uint32_t>> spirv = compiler->compile(job);
    REQUIRE_MESSAGE(spirv.ok(), spirv.status().message << "\n" << source);
    return std::move(*spirv);
}

}  // namespace

BatchResult run_emitted(VulkanContext& context, const Shape& shape, const std::vector<EmittedCase>& cases) {
    Batch batch;
    batch.source = shell_begin;
    for (size_t i = 0; i < cases.size(); ++i) add_case(batch, shape, cases[i], i);
    batch.source += main_of(cases.size());
    const std::vector<uint32_t> spirv = compiled(batch.source);

    const size_t n_rows =
        static_cast<size_t>(shape.batch) * static_cast<size_t>(shape.q_heads) * static_cast<size_t>(shape.q_len);
    const size_t n_pairs = n_rows * static_cast<size_t>(shape.kv_len);
    const size_t params_bytes = batch.params.size() * sizeof(AttentionParams);
    static_assert(sizeof(AttentionParams) % 8 == 0, "the stride of an std430 array of a struct that holds uvec2");
    DeviceBuffer params(context, params_bytes), tables(context, 4 * batch.tables.size()),
        results(context, cases.size() * 6 * n_pairs * 4);
    std::memcpy(params.data, batch.params.data(), params_bytes);
    std::memcpy(tables.data, batch.tables.data(), 4 * batch.tables.size());
    std::memset(results.data, 0xcd, results.size_bytes);
    const DeviceBuffer* buffers[3] = {&params, &tables, &results};
    Dispatch(context, spirv, batch, buffers)
        .run(static_cast<uint32_t>((n_pairs + 63) / 64), static_cast<uint32_t>(cases.size()));

    BatchResult result;
    const uint32_t* words = reinterpret_cast<const uint32_t*>(results.data);
    for (size_t i = 0; i < cases.size(); ++i) {
        const uint32_t* at = words + i * 6 * n_pairs;
        result.kept.emplace_back(at, at + n_pairs);
        result.scores.emplace_back(n_pairs);
        std::memcpy(result.scores.back().data(), at + n_pairs, 4 * n_pairs);
        result.ranges.emplace_back(n_rows);
        std::memcpy(result.ranges.back().data(), at + 2 * n_pairs, 16 * n_rows);
    }
    return result;
}

}  // namespace vkattn_tests
