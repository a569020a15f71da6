// LayerStack: attention layers that choose the long or the short mask, one plan for all of them, one submit a step.
//
// There are no trained weights: q and k of each layer are made up from the token ids, and a layer's output is the next one's v.
// What is real is the attention and everything around it that a model's host does.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "support/buffer.h"
#include "support/device.h"
#include "vkattn/compiler.h"
#include "vkattn/engine.h"
#include "vkattn/reference.h"
#include "windows.h"

namespace long_short_windows {

struct Model {
    int32_t heads = 2;
    int32_t dim = 64;                     // D and Dv
    std::string layers = "LSSSLSSLSSSL";  // L long, S short: the record's twelve
};

// Tokens on the device: q and k of all layers, and the values that go through them.
struct Sequence {
    vkattn::Shape shape;
    Documents documents;
    vkattn::PaddedBlocks lists;                       // newest first, no window
    std::vector<float> q_values, k_values, v_values;  // [layers, H, L, D] twice, [H, L, D]
    vkattn::support::Buffer q, k, v;                  // v [layers + 1, H, L, D]: layer i reads v[i], writes v[i + 1]
    std::array<vkattn::support::Buffer, 2> tables;    // of the long and the short mask
    std::vector<vkattn::Binding> bindings;            // a layer each
};

struct StepTimes {
    double device_ms = 0.0;  // all layers
    double host_ms = 0.0;    // lists, args and tables of both masks
    bool device_clock = true;
};

// Thread class: one thread at a time.
class LayerStack {
  public:
    // selector: as --device, "" the best device. max_length: of any sequence.
    static vkattn::Result<std::unique_ptr<LayerStack>> create(std::string_view selector, const Model& model,
                                                              int32_t max_length);

    // heads: at most the model's.
    vkattn::Result<Sequence> load(std::span<const int32_t> tokens, int32_t end_of_text, int32_t heads) const;

    // All layers, with these windows.
    vkattn::Result<StepTimes> step(Sequence& sequence, const Windows& windows) const;

    // After step: each layer's output against reference_attention with the mask alone, no lists, on what the layer was given.
    // The worst layer's errors.
    vkattn::Result<vkattn::RowErrors> check(const Sequence& sequence, const Windows& windows) const;

    const vkattn::Capabilities& capabilities() const { return engine_->capabilities(); }
    const vkattn::PlanReport& report() const { return plan_->report(); }
    uint64_t pipelines_created() const { return engine_->pipelines_created(); }

  private:
    LayerStack() = default;
    bool is_long(size_t layer) const { return model_.layers[layer] == 'L'; }

    Model model_;
    // In the order of dependence: what is below uses what is above.
    std::unique_ptr<vkattn::ShaderCompiler> compiler_;
    std::unique_ptr<vkattn::support::Device> device_;
    std::unique_ptr<vkattn::Engine> engine_;
    std::optional<vkattn::Plan> plan_;
    vkattn::support::Buffer work_;  // the layers run one after the other, so they share it
};

}  // namespace long_short_windows
