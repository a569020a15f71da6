#include "model.h"

#include <cmath>
#include <limits>

#include <Eigen/Core>

namespace semantic_search {

using vkattn::Code;
using vkattn::error;
using vkattn::Result;
using vkattn::Status;

namespace {

constexpr int32_t token_dim = 256;
constexpr int32_t feed_dim = 1536;
constexpr int32_t embedding_rows = 8002;  // the vocabulary and two rows that no text reaches
constexpr float norm_epsilon = 1e-6f;
constexpr float length_epsilon = 1e-12f;

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;  // [tokens, features]
using ConstMatrixMap = Eigen::Map<const Matrix>;
using ConstRowMap = Eigen::Map<const Eigen::RowVectorXf>;

template <class Layer>
Matrix dense(const Matrix& x, const Layer& layer) {
    Matrix y = x * ConstMatrixMap(layer.kernel, layer.in, layer.out);
    y.rowwise() += ConstRowMap(layer.bias, layer.out);
    return y;
}

template <class Norm>
Matrix normalised(const Matrix& x, const Norm& norm) {
    const ConstRowMap scale(norm.scale, x.cols()), bias(norm.bias, x.cols());
    Matrix y = x.colwise() - x.rowwise().mean();
    for (Eigen::Index row = 0; row < y.rows(); row++) {
        const float variance = y.row(row).squaredNorm() / static_cast<float>(y.cols());
        y.row(row) = (y.row(row) * (1.0f / std::sqrt(variance + norm_epsilon))).cwiseProduct(scale) + bias;
    }
    return y;
}

}  // namespace

void Packing::append(std::span<const int32_t> sentence_ids) {
    ids.insert(ids.end(), sentence_ids.begin(), sentence_ids.end());
    documents.insert(documents.end(), sentence_ids.size(), sentences());
    offsets.push_back(static_cast<int32_t>(ids.size()));
}

void Embeddings::append(const Embeddings& more) {
    count += more.count;
    values.insert(values.end(), more.values.begin(), more.values.end());
}

float cosine(std::span<const float> a, std::span<const float> b) {
    float sum = 0.0f;
    for (size_t i = 0; i < a.size(); i++) sum += a[i] * b[i];
    return sum;
}

double max_difference(const Embeddings& a, const Embeddings& b) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    if (a.values.size() != b.values.size()) return infinity;
    double worst = 0.0;
    for (size_t i = 0; i < a.values.size(); i++) {
        const double difference = std::abs(double{a.values[i]} - double{b.values[i]});
        if (!(difference <= worst)) worst = std::isnan(difference) ? infinity : difference;
    }
    return worst;
}

Result<SentenceEncoder> SentenceEncoder::load(const std::string& directory) {
    auto tokenizer = Tokenizer::load(directory + "/vocab.json");
    if (!tokenizer) return tokenizer.status();
    if (tokenizer->size() > embedding_rows)
        return error(Code::invalid_argument, directory + "/vocab.json has " + std::to_string(tokenizer->size()) +
                                                 " pieces, the model embeds " + std::to_string(embedding_rows));
    auto weights = Weights::load(directory);
    if (!weights) return weights.status();
    SentenceEncoder encoder(*std::move(tokenizer), *std::move(weights));
    if (Status status = encoder.find_weights(); !status.ok())
        return error(status.code, directory + "/model.json: " + status.message);
    return encoder;
}

Status SentenceEncoder::find_weights() {
    Status first;  // the first thing that is missing or wrong
    const auto tensor = [&](const std::string& name, std::initializer_list<int64_t> shape) -> const float* {
        auto found = weights_.tensor(name, shape);
        if (found) return *found;
        if (first.ok()) first = found.status();
        return nullptr;
    };
    const std::string variables = "module/Encoder_en/",
                      constants = "module_apply_default/Encoder_en/KonaTransformer/Encode/";
    const std::string whole = "/ConcatPartitions/concat";

    token_embedding_ = tensor("module/Embeddings_en", {embedding_rows, token_dim});
    inverse_timescale_ =
        tensor(constants + "TransformerStack/Layer_0/AddTimingSignal/TimingSignal/ExpandDims_1", {1, token_dim / 2});
    for (int32_t i = 0; i < n_layers; i++) {
        Layer& layer = layers_[i];
        const std::string place = "Layer_" + std::to_string(i) + "/TransformerLayer/";
        const int32_t width = i == 0 ? token_dim : embedding_dim, inner = n_heads * head_dims[i];
        const auto norm = [&](const std::string& name, int32_t size) {
            const std::string base = constants + place + name + "layer_prepostprocess/layer_norm/layer_norm_";
            return Norm{tensor(base + "scale" + whole, {size}), tensor(base + "bias" + whole, {size})};
        };
        const auto projection = [&](const std::string& name, int32_t in, int32_t out) {
            return Dense{
                tensor(variables + "KonaTransformer/Encode/" + place + "MultiheadAttention/" + name + "/kernel/part_0",
                       {1, 1, in, out}),
                tensor(constants + place + "MultiheadAttention/" + name + "/bias" + whole, {out}), in, out};
        };
        const auto feed = [&](const std::string& name, int32_t in, int32_t out) {
            return Dense{
                tensor(constants + "TransformerStack/" + place + "FFN/" + name + "/Tensordot/Reshape_1", {in, out}),
                tensor(constants + place + "FFN/" + name + "/bias" + whole, {out}), in, out};
        };
        layer.attention_norm = norm("", width);
        layer.qkv = projection("qkv_transform_single", width, 3 * inner);
        layer.output = projection("output_transform_single", inner, embedding_dim);
        if (width != embedding_dim)
            layer.residual = {tensor(constants + place + "dense/kernel" + whole, {width, embedding_dim}),
                              tensor(constants + place + "dense/bias" + whole, {embedding_dim}), width, embedding_dim};
        layer.feed_norm = norm("FFN/", embedding_dim);
        layer.expand = feed("conv1", embedding_dim, feed_dim);
        layer.contract = feed("conv2", feed_dim, embedding_dim);
    }
    final_ = {tensor(variables + "hidden_layers/tanh_layer_0/weights", {embedding_dim, embedding_dim}),
              tensor(variables + "hidden_layers/tanh_layer_0/bias", {embedding_dim}), embedding_dim, embedding_dim};
    return first;
}

Result<Embeddings> SentenceEncoder::embed(const Packing& packing, const AttentionFunction& attention) const {
    const int32_t tokens = packing.tokens();
    Matrix x(tokens, token_dim);
    for (int32_t sentence = 0; sentence < packing.sentences(); sentence++) {
        const int32_t begin = packing.offsets[static_cast<size_t>(sentence)],
                      end = packing.offsets[static_cast<size_t>(sentence) + 1];
        if (end <= begin)
            return error(Code::invalid_argument, "sentence " + std::to_string(sentence) + " has no tokens");
        for (int32_t token = begin; token < end; token++) {
            const int32_t id = packing.ids[static_cast<size_t>(token)];
            if (id < 0 || id >= embedding_rows)
                return error(Code::invalid_argument, "token id " + std::to_string(id) + " is not in the vocabulary");
            // The graph adds the position signal to a copy of the embedding, and that to the embedding: twice the embedding.
            x.row(token) = 2.0f * ConstRowMap(token_embedding_ + ptrdiff_t{id} * token_dim, token_dim);
            for (int32_t i = 0; i < token_dim / 2; i++) {
                const float angle = static_cast<float>(token - begin) * inverse_timescale_[i];
                x(token, i) += std::sin(angle);
                x(token, i + token_dim / 2) += std::cos(angle);
            }
        }
    }

    for (int32_t i = 0; i < n_layers; i++) {
        const Layer& layer = layers_[i];
        const Matrix qkv = dense(normalised(x, layer.attention_norm), layer.qkv);
        Matrix attended(tokens, n_heads * head_dims[i]);
        const AttentionCall call{tokens, n_heads, head_dims[i], packing.documents, qkv.data(), attended.data()};
        if (Status status = attention(call); !status.ok()) return status;
        if (layer.residual.kernel != nullptr) x = dense(x, layer.residual);
        x += dense(attended, layer.output);
        x += dense(dense(normalised(x, layer.feed_norm), layer.expand).cwiseMax(0.0f), layer.contract);
    }

    Matrix means(packing.sentences(), embedding_dim);
    for (int32_t sentence = 0; sentence < packing.sentences(); sentence++) {
        const int32_t begin = packing.offsets[static_cast<size_t>(sentence)],
                      end = packing.offsets[static_cast<size_t>(sentence) + 1];
        means.row(sentence) = x.middleRows(begin, end - begin).colwise().mean();
    }
    Matrix y = dense(means, final_).array().tanh().matrix();
    Embeddings embeddings;
    embeddings.count = packing.sentences();
    for (Eigen::Index row = 0; row < y.rows(); row++) {
        y.row(row) /= std::sqrt(std::max(y.row(row).squaredNorm(), length_epsilon));
        embeddings.values.insert(embeddings.values.end(), y.row(row).data(), y.row(row).data() + embedding_dim);
    }
    return embeddings;
}

}  // namespace semantic_search
