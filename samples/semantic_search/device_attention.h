// DeviceAttention: the encoder's attention on a Vulkan device. One plan per head dim for every text: lengths, documents and
// block lists are values of a call, so no text makes a pipeline.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "model.h"
#include "support/buffer.h"
#include "support/device.h"
#include "vkattn/compiler.h"

namespace semantic_search {

// Blocks of the lists: a multiple of every plan's query tile at these head dims.
constexpr int32_t block_size = 64;

// Thread class: one thread at a time.
class DeviceAttention {
  public:
    // selector: as --device, "" the best device. max_tokens: of one packed sequence; sizes the buffers.
    static vkattn::Result<std::unique_ptr<DeviceAttention>> create(std::string_view selector, int32_t max_tokens);

    // Uploads, records, submits, waits, downloads. sharpness multiplies the scores (it becomes the call's scale).
    vkattn::Status attend(const AttentionCall& call, float sharpness = 1.0f);

    // The block lists of a document mask, as attend makes them: for pictures and figures.
    vkattn::Result<vkattn::BlockMask> blocks(std::span<const int32_t> documents, int32_t block = block_size) const;

    int32_t max_tokens() const { return max_tokens_; }
    const vkattn::Capabilities& capabilities() const { return engine_->capabilities(); }
    const vkattn::PlanReport& report(int32_t layer) const { return layers_[static_cast<size_t>(layer)].plan.report(); }
    uint64_t pipelines_created() const { return engine_->pipelines_created(); }
    double device_ms() const { return device_ms_; }  // of all calls so far, on the device's clock where it has one
    int64_t calls() const { return calls_; }

  private:
    struct Layer {
        vkattn::Plan plan;
        vkattn::Binding binding;
    };

    DeviceAttention() = default;
    vkattn::Status make_layers();

    int32_t max_tokens_ = 0;
    double device_ms_ = 0.0;
    int64_t calls_ = 0;
    vkattn::Mask mask_;
    // In the order of dependence: what is below uses what is above.
    std::unique_ptr<vkattn::ShaderCompiler> compiler_;
    std::unique_ptr<vkattn::support::Device> device_;
    std::unique_ptr<vkattn::Engine> engine_;
    vkattn::support::Buffer qkv_, o_, work_, tables_;
    std::vector<Layer> layers_;  // per SentenceEncoder::head_dims
};

}  // namespace semantic_search
