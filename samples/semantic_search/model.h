// SentenceEncoder: Universal Sentence Encoder lite. Dense layers with Eigen on the CPU in f32; attention is a function that the
// caller gives: the device (device_attention.h) or a plain loop (loop_attention.h).
//
// Sentences are packed one behind the other into one sequence. A document mask, ids[q] == ids[kv], keeps each to itself.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer.h"
#include "vkattn/result.h"
#include "weights.h"

namespace semantic_search {

constexpr int32_t embedding_dim = 512;

// Sentences as one sequence: ids and documents [tokens], sentence i is tokens offsets[i] to offsets[i + 1].
struct Packing {
    std::vector<int32_t> ids;
    std::vector<int32_t> documents;
    std::vector<int32_t> offsets{0};

    int32_t sentences() const { return static_cast<int32_t>(offsets.size()) - 1; }
    int32_t tokens() const { return offsets.back(); }
    void append(std::span<const int32_t> sentence_ids);
};

// One layer's attention over a packed sequence, scale 1 / sqrt(head_dim).
// qkv [tokens, 3, heads, head_dim], o [tokens, heads, head_dim], documents [tokens].
struct AttentionCall {
    int32_t tokens = 0;
    int32_t heads = 0;
    int32_t head_dim = 0;
    std::span<const int32_t> documents;
    const float* qkv = nullptr;
    float* o = nullptr;
};
using AttentionFunction = std::function<vkattn::Status(const AttentionCall&)>;

// Unit vectors, values [count, embedding_dim].
struct Embeddings {
    int32_t count = 0;
    std::vector<float> values;

    std::span<const float> operator[](int32_t i) const {
        return std::span(values).subspan(static_cast<size_t>(i) * embedding_dim, embedding_dim);
    }
    void append(const Embeddings& more);
};
float cosine(std::span<const float> a, std::span<const float> b);  // of unit vectors
double max_difference(const Embeddings& a, const Embeddings& b);   // infinity when the counts differ or a value is NaN

// Thread class: immutable; embed may run on many threads when the attention function can.
class SentenceEncoder {
  public:
    static constexpr int32_t n_heads = 4;
    static constexpr int32_t n_layers = 2;
    static constexpr int32_t head_dims[n_layers] = {64, 128};

    // `directory`: what fetch_model.sh made. Errors name the file and what is wrong with it.
    static vkattn::Result<SentenceEncoder> load(const std::string& directory);

    const Tokenizer& tokenizer() const { return tokenizer_; }
    size_t weight_bytes() const { return weights_.bytes(); }

    vkattn::Result<Embeddings> embed(const Packing& packing, const AttentionFunction& attention) const;

  private:
    struct Dense {
        const float* kernel = nullptr;  // [in, out]
        const float* bias = nullptr;    // [out]
        int32_t in = 0, out = 0;
    };
    struct Norm {
        const float* scale = nullptr;
        const float* bias = nullptr;
    };
    struct Layer {
        Norm attention_norm, feed_norm;
        Dense qkv, output, expand, contract;
        Dense residual;  // where the width changes; kernel null: identity
    };

    SentenceEncoder(Tokenizer tokenizer, Weights weights)
        : tokenizer_(std::move(tokenizer)), weights_(std::move(weights)) {}
    vkattn::Status find_weights();

    Tokenizer tokenizer_;
    Weights weights_;                           // what the pointers below point into
    const float* token_embedding_ = nullptr;    // [vocabulary, 256]
    const float* inverse_timescale_ = nullptr;  // [128]
    Layer layers_[n_layers];
    Dense final_;
};

}  // namespace semantic_search
