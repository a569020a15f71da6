#include "device_attention.h"

#include <algorithm>
#include <cmath>

#include "support/submit.h"
#include "vkattn/classify.h"
#include "vkattn/named.h"
#ifdef SEMANTIC_SEARCH_COMPILER
#include "vkattn/shaderc_compiler.h"
#endif

namespace semantic_search {

using vkattn::Code;
using vkattn::error;
using vkattn::Result;
using vkattn::Status;
using vkattn::support::Buffer;

namespace {

constexpr int32_t n_heads = SentenceEncoder::n_heads;
constexpr uint64_t largest_width =
    uint64_t{n_heads} * SentenceEncoder::head_dims[SentenceEncoder::n_layers - 1];  // floats a token

// Ids of every token, and lists with every block of a row in a run of its own.
uint64_t tables_bytes(int32_t max_tokens) {
    const uint64_t tokens = static_cast<uint64_t>(max_tokens), rows = (tokens + block_size - 1) / block_size;
    return tokens * sizeof(int32_t) + (rows + 2) * sizeof(uint32_t) + rows * rows * sizeof(vkattn::BlockRun);
}

vkattn::Shape shape_of(int32_t tokens) {
    return {.batch = 1, .q_heads = n_heads, .kv_heads = n_heads, .q_len = tokens, .kv_len = tokens};
}

vkattn::Bindings bindings_of(std::span<const int32_t> documents) {
    auto ids = std::make_shared<vkattn::TableData>();
    ids->dims = {static_cast<int64_t>(documents.size())};
    ids->i32.assign(documents.begin(), documents.end());
    vkattn::Bindings bindings;
    bindings.tables["doc"] = std::move(ids);
    return bindings;
}

}  // namespace

Result<std::unique_ptr<DeviceAttention>> DeviceAttention::create(std::string_view selector, int32_t max_tokens) {
    std::unique_ptr<DeviceAttention> self(new DeviceAttention());
    self->max_tokens_ = max_tokens;
    self->mask_ = vkattn::document(vkattn::table("doc"));
    auto device = vkattn::support::Device::create(selector);
    if (!device) return device.status();
    self->device_ = *std::move(device);
#ifdef SEMANTIC_SEARCH_COMPILER
    self->compiler_ = vkattn::make_shaderc_compiler();
#endif
    vkattn::EngineOptions options;
    options.compiler = self->compiler_.get();
    auto engine = vkattn::Engine::create(self->device_->host(), options);
    if (!engine) return engine.status();
    self->engine_ = *std::move(engine);

    const uint64_t token_bytes = static_cast<uint64_t>(max_tokens) * largest_width * sizeof(float);
    struct Room {
        Buffer& buffer;
        uint64_t bytes;
    };
    for (const Room& room : {Room{self->qkv_, 3 * token_bytes}, Room{self->o_, token_bytes},
                             Room{self->tables_, tables_bytes(max_tokens)}}) {
        auto buffer = Buffer::create(*self->device_, room.bytes);
        if (!buffer) return buffer.status();
        room.buffer = *std::move(buffer);
    }
    if (Status status = self->make_layers(); !status.ok()) return status;
    return self;
}

Status DeviceAttention::make_layers() {
    std::vector<vkattn::Plan> plans;
    uint64_t workspace_bytes = 0;  // the layers run one after the other, so they share the workspace
    for (int32_t head_dim : SentenceEncoder::head_dims) {
        vkattn::Problem problem;
        problem.max_shape = shape_of(max_tokens_);
        problem.head_dim = head_dim;
        problem.mask = mask_;
        problem.schedule = vkattn::Schedule::list;
        problem.block_q = problem.block_kv = block_size;
        problem.max_tables_bytes = tables_bytes(max_tokens_);
        auto plan = engine_->plan(problem);
        if (!plan) return plan.status();
        workspace_bytes = std::max(workspace_bytes, plan->workspace_bytes());
        plans.push_back(*std::move(plan));
    }
    auto work = Buffer::create(*device_, workspace_bytes);
    if (!work) return work.status();
    work_ = *std::move(work);
    for (size_t i = 0; i < plans.size(); i++) {
        // q, k and v lie side by side in each token's row, as the dense layer before wrote them: three windows into one buffer.
        const uint64_t part_bytes =
            uint64_t{n_heads} * static_cast<uint64_t>(SentenceEncoder::head_dims[i]) * sizeof(float);
        const auto part = [&](uint64_t n) {
            return vkattn::BufferRange{qkv_.handle(), n * part_bytes, qkv_.size_bytes() - n * part_bytes};
        };
        auto binding = plans[i].bind({.q = part(0),
                                      .k = part(1),
                                      .v = part(2),
                                      .o = o_.range(),
                                      .lse = {},
                                      .work = work_.range(),
                                      .tables = tables_.range()});
        if (!binding) return binding.status();
        layers_.push_back({plans[i], *std::move(binding)});
    }
    return {};
}

Result<vkattn::BlockMask> DeviceAttention::blocks(std::span<const int32_t> documents, int32_t block) const {
    const auto tokens = static_cast<int32_t>(documents.size());
    return vkattn::create_block_mask(mask_, shape_of(tokens), bindings_of(documents),
                                     {.block_q = block, .block_kv = block});
}

Status DeviceAttention::attend(const AttentionCall& call, float sharpness) {
    const Layer* layer = nullptr;
    for (size_t i = 0; i < layers_.size(); i++)
        if (SentenceEncoder::head_dims[i] == call.head_dim) layer = &layers_[i];
    if (layer == nullptr || call.heads != n_heads)
        return error(Code::invalid_argument, "no plan was made for " + std::to_string(call.heads) + " heads of " +
                                                 std::to_string(call.head_dim));
    if (call.tokens > max_tokens_)
        return error(Code::limit_exceeded, std::to_string(call.tokens) +
                                               " tokens in one sequence; the plans were made for " +
                                               std::to_string(max_tokens_));

    auto block_mask = blocks(call.documents);
    if (!block_mask) return block_mask.status();
    const int64_t dim = call.head_dim, width = n_heads * dim;
    vkattn::ArgsInfo info;
    info.shape = shape_of(call.tokens);
    info.scale = sharpness / std::sqrt(static_cast<float>(call.head_dim));
    info.q = info.k = info.v = vkattn::Strides{.b = 0, .h = dim, .l = 3 * width};
    info.o = vkattn::Strides{.b = 0, .h = dim, .l = width};
    info.bindings = bindings_of(call.documents);
    info.block_mask = &*block_mask;
    auto args = layer->plan.make_args(info);
    if (!args) return args.status();
    if (Status status = layer->plan.check(layer->binding, *args); !status.ok()) return status;

    const size_t elements = static_cast<size_t>(call.tokens) * static_cast<size_t>(width);
    std::vector<uint8_t> tables(args->tables_bytes());
    args->write_tables(tables);
    if (Status status = tables_.upload_bytes(tables); !status.ok()) return status;
    if (Status status = qkv_.upload(std::span(call.qkv, 3 * elements)); !status.ok()) return status;
    const auto record = [&](VkCommandBuffer command_buffer) {
        layer->plan.record(command_buffer, layer->binding, *args);
    };
    auto timing = vkattn::support::submit_timed(*device_, record);
    if (!timing) return timing.status();
    device_ms_ += timing->ms;
    calls_++;
    return o_.download(std::span(call.o, elements));
}

}  // namespace semantic_search
