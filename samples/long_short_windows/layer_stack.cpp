#include "layer_stack.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "support/submit.h"
#include "vkattn/shaderc_compiler.h"

namespace long_short_windows {

using namespace vkattn;
using support::Buffer;

namespace {

constexpr uint32_t nan_bits = 0x7fc00000u;  // what no layer has written yet

// A number in [-1, 1) for a token, a place in its vector and a use: the same on every machine.
float made_up(int32_t token, uint32_t place, uint32_t use) {
    uint32_t x = static_cast<uint32_t>(token) * 0x9e3779b9u + place * 0x85ebca6bu + use * 0xc2b2ae35u + 1u;
    for (int i = 0; i < 2; ++i) {
        x = (x ^ (x >> 16)) * 0x7feb352du;
        x = (x ^ (x >> 15)) * 0x846ca68bu;
    }
    return static_cast<float>(x >> 8) * 0x1p-23f - 1.0f;
}

// [H, L, D] of one use, behind what is there already.
void append_vectors(std::vector<float>& values, std::span<const int32_t> tokens, int32_t heads, int32_t dim,
                    uint32_t use) {
    for (int32_t h = 0; h < heads; ++h)
        for (const int32_t token : tokens)
            for (int32_t d = 0; d < dim; ++d) values.push_back(made_up(token, static_cast<uint32_t>(h * dim + d), use));
}

// One layer's result is the next one's v.
void wait_for_layer(const support::Device& device, VkCommandBuffer commands) {
    VkMemoryBarrier written{};
    written.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
    written.srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT;
    written.dstAccessMask = VK_ACCESS_SHADER_READ_BIT;
    device.vk().vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
                                     VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, 0, 1, &written, 0, nullptr, 0, nullptr);
}

}  // namespace

Result<std::unique_ptr<LayerStack>> LayerStack::create(std::string_view selector, const Model& model,
                                                       int32_t max_length) {
    std::unique_ptr<LayerStack> self(new LayerStack());
    self->model_ = model;
    auto device = support::Device::create(selector);
    if (!device) return device.status();
    self->device_ = *std::move(device);
    self->compiler_ = make_shaderc_compiler();
    EngineOptions options;
    options.compiler = self->compiler_.get();
    auto engine = Engine::create(self->device_->host(), options);
    if (!engine) return engine.status();
    self->engine_ = *std::move(engine);

    Problem problem;
    problem.max_shape = {1, model.heads, model.heads, max_length, max_length};
    problem.head_dim = model.dim;
    problem.mask = windowed_documents();
    problem.tables = {{"docs", {max_length}}};
    problem.schedule = Schedule::list;
    problem.block_q = problem.block_kv = block_size;
    auto plan = self->engine_->plan(problem);
    if (!plan) return plan.status();
    self->plan_ = *std::move(plan);
    auto work = Buffer::create(*self->device_, self->plan_->workspace_bytes());
    if (!work) return work.status();
    self->work_ = *std::move(work);
    return self;
}

Result<Sequence> LayerStack::load(std::span<const int32_t> tokens, int32_t end_of_text, int32_t heads) const {
    Sequence sequence;
    auto documents = modded_nanogpt::documents(tokens, end_of_text);
    if (!documents) return documents.status();
    sequence.documents = std::make_shared<const TableData>(*std::move(documents));
    sequence.shape = shape_of(heads, sequence.documents);
    auto lists = newest_first_lists(sequence.documents);
    if (!lists) return lists.status();
    sequence.lists = *std::move(lists);

    const size_t layers = model_.layers.size();
    for (uint32_t layer = 0; layer < layers; ++layer) {
        append_vectors(sequence.q_values, tokens, heads, model_.dim, 2 * layer);
        append_vectors(sequence.k_values, tokens, heads, model_.dim, 2 * layer + 1);
    }
    append_vectors(sequence.v_values, tokens, heads, model_.dim, static_cast<uint32_t>(2 * layers));
    const uint64_t layer_bytes = sequence.v_values.size() * sizeof(float);
    struct Room {
        Buffer& buffer;
        uint64_t bytes;
    };
    for (const Room& room :
         {Room{sequence.q, layers * layer_bytes}, Room{sequence.k, layers * layer_bytes},
          Room{sequence.v, (layers + 1) * layer_bytes}, Room{sequence.tables[0], plan_->report().tables_bytes},
          Room{sequence.tables[1], plan_->report().tables_bytes}}) {
        auto buffer = Buffer::create(*device_, room.bytes);
        if (!buffer) return buffer.status();
        room.buffer = *std::move(buffer);
    }
    if (Status status = sequence.q.upload<float>(sequence.q_values); !status.ok()) return status;
    if (Status status = sequence.k.upload<float>(sequence.k_values); !status.ok()) return status;

    for (size_t layer = 0; layer < layers; ++layer) {
        const auto part = [&](const Buffer& buffer, size_t n) {
            return BufferRange{buffer.handle(), n * layer_bytes, layer_bytes};
        };
        auto binding = plan_->bind({.q = part(sequence.q, layer),
                                    .k = part(sequence.k, layer),
                                    .v = part(sequence.v, layer),
                                    .o = part(sequence.v, layer + 1),
                                    .lse = {},
                                    .work = work_.range(),
                                    .tables = sequence.tables[is_long(layer) ? 0 : 1].range()});
        if (!binding) return binding.status();
        sequence.bindings.push_back(*std::move(binding));
    }
    return sequence;
}

Result<StepTimes> LayerStack::step(Sequence& sequence, const Windows& windows) const {
    // What earlier steps have left must not pass for this one's results.
    if (Status status = sequence.v.fill(nan_bits); !status.ok()) return status;
    if (Status status = sequence.v.upload<float>(sequence.v_values); !status.ok()) return status;

    const auto start = std::chrono::steady_clock::now();
    auto lists = lists_for(sequence.lists, sequence.shape, windows);
    if (!lists) return lists.status();
    std::vector<Args> args;
    for (const size_t which : {size_t{0}, size_t{1}}) {
        ArgsInfo info;
        info.shape = sequence.shape;
        info.bindings = bindings_of(sequence.documents, which == 0 ? windows.long_blocks : windows.short_blocks);
        info.block_mask = &lists->masks[which];
        auto made = plan_->make_args(info);
        if (!made) return made.status();
        std::vector<uint8_t> bytes(made->tables_bytes());
        made->write_tables(bytes);
        if (Status status = sequence.tables[which].upload_bytes(bytes); !status.ok()) return status;
        args.push_back(*std::move(made));
    }
    const std::chrono::duration<double, std::milli> host_ms = std::chrono::steady_clock::now() - start;
    for (size_t layer = 0; layer < model_.layers.size(); ++layer)
        if (Status status = plan_->check(sequence.bindings[layer], args[is_long(layer) ? 0 : 1]); !status.ok())
            return status;

    auto timing = support::submit_timed(*device_, [&](VkCommandBuffer commands) {
        for (size_t layer = 0; layer < model_.layers.size(); ++layer) {
            if (layer > 0) wait_for_layer(*device_, commands);
            plan_->record(commands, sequence.bindings[layer], args[is_long(layer) ? 0 : 1]);
        }
    });
    if (!timing) return timing.status();
    return StepTimes{timing->ms, host_ms.count(), timing->device_clock};
}

Result<RowErrors> LayerStack::check(const Sequence& sequence, const Windows& windows) const {
    const size_t layer_elements = sequence.v_values.size(), layers = model_.layers.size();
    std::vector<float> values((layers + 1) * layer_elements);
    if (Status status = sequence.v.download<float>(values); !status.ok()) return status;
    ReferenceInput input;
    input.shape = sequence.shape;
    input.head_dim = input.value_dim = model_.dim;
    input.scale = 1.0 / std::sqrt(static_cast<double>(model_.dim));
    RowErrors worst;  // of the first layer that is wrong, else of the one nearest to its bound
    for (size_t layer = 0; layer < layers; ++layer) {
        input.q = sequence.q_values.data() + layer * layer_elements;
        input.k = sequence.k_values.data() + layer * layer_elements;
        input.v = values.data() + layer * layer_elements;
        const Bindings bindings =
            bindings_of(sequence.documents, is_long(layer) ? windows.long_blocks : windows.short_blocks);
        auto expected = reference_attention(windowed_documents(), {}, bindings, input);
        if (!expected) return expected.status();
        const RowErrors errors =
            compare_rows(*expected, values.data() + (layer + 1) * layer_elements,
                         int64_t{sequence.shape.q_heads} * sequence.shape.q_len, model_.dim, 0x1p-23);
        const bool first = layer == 0, worse = errors.worst * worst.bound > worst.worst * errors.bound;
        if (first || (worst.ok() && (worse || !errors.ok()))) worst = errors;
    }
    return worst;
}

}  // namespace long_short_windows
