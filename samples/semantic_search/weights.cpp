// The format: weightsManifest is a list of groups; a group's tensors follow each other without gaps in the concatenation of
// its shards, little-endian, float32 or int32 (no quantisation in this model).
#include "weights.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include <nlohmann/json.hpp>

#include "support/file.h"

namespace semantic_search {

using nlohmann::json;
using vkattn::Code;
using vkattn::error;
using vkattn::Result;

static_assert(std::endian::native == std::endian::little, "the shards are read as they are");

namespace {

constexpr size_t max_manifest_bytes = 16u << 20;
constexpr size_t max_weight_bytes = 256u << 20;
constexpr size_t max_name_bytes = 512;
constexpr size_t max_dims = 8;

std::string shape_text(const std::vector<int64_t>& shape) {
    std::string text = "[";
    for (size_t i = 0; i < shape.size(); i++) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
    return text + "]";
}

// A shard is a plain file beside model.json, never a path.
bool is_plain_name(const std::string& name) {
    const auto allowed = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
               c == '.';
    };
    return !name.empty() && name.size() <= 128 && name[0] != '.' && std::all_of(name.begin(), name.end(), allowed);
}

// Elements of a manifest's shape; an error in words when it is none.
Result<size_t> read_shape(const json& shape, std::vector<int64_t>& dims) {
    if (!shape.is_array() || shape.size() > max_dims)
        return error(Code::invalid_argument,
                     "has no shape (an array of at most " + std::to_string(max_dims) + " sizes)");
    size_t count = 1;
    for (const json& dim : shape) {
        if (!dim.is_number_unsigned())
            return error(Code::invalid_argument, "has a size that is no whole number from 0");
        const uint64_t size = dim.get<uint64_t>();
        if (size > max_weight_bytes || count * size > max_weight_bytes / sizeof(float))  // both factors are below 2^29
            return error(Code::limit_exceeded, "is larger than " + std::to_string(max_weight_bytes) + " bytes");
        dims.push_back(static_cast<int64_t>(size));
        count *= size;
    }
    return count;
}

const json* member(const json& object, const char* name) {
    if (!object.is_object()) return nullptr;
    const auto found = object.find(name);
    return found == object.end() ? nullptr : &*found;
}

}  // namespace

Result<Weights> Weights::load(const std::string& directory) {
    const std::string manifest_path = directory + "/model.json";
    const auto text = vkattn::support::read_file(manifest_path, max_manifest_bytes);
    if (!text) return text.status();
    const auto wrong = [&](const std::string& what) {
        return error(Code::invalid_argument, manifest_path + ": " + what);
    };
    const json model = json::parse(*text, nullptr, /*allow_exceptions=*/false);
    if (model.is_discarded()) return wrong("not JSON");
    const json* groups = member(model, "weightsManifest");
    if (groups == nullptr || !groups->is_array())
        return wrong("no weightsManifest (a TensorFlow.js graph model has one)");

    Weights weights;
    for (const json& group : *groups) {
        const json* paths = member(group, "paths");
        const json* tensors = member(group, "weights");
        if (paths == nullptr || !paths->is_array() || tensors == nullptr || !tensors->is_array())
            return wrong("a weight group needs the arrays 'paths' and 'weights'");
        std::vector<uint8_t> bytes;
        for (const json& path : *paths) {
            if (!path.is_string() || !is_plain_name(path.get<std::string>()))
                return wrong("a shard's path is no plain file name");
            const auto shard =
                vkattn::support::read_file(directory + "/" + path.get<std::string>(), max_weight_bytes - bytes.size());
            if (!shard) return shard.status();
            bytes.insert(bytes.end(), shard->begin(), shard->end());
        }
        size_t offset = weights.values_.size();
        const size_t group_begin = offset;
        if (bytes.size() > max_weight_bytes - weights.bytes())
            return wrong("the weights are larger than " + std::to_string(max_weight_bytes) + " bytes");
        weights.values_.resize(offset + bytes.size() / sizeof(float));
        std::memcpy(weights.values_.data() + offset, bytes.data(), bytes.size() / sizeof(float) * sizeof(float));
        for (const json& tensor : *tensors) {
            const json* name = member(tensor, "name");
            const json* type = member(tensor, "dtype");
            const json* shape = member(tensor, "shape");
            if (name == nullptr || !name->is_string() || name->get_ref<const std::string&>().size() > max_name_bytes)
                return wrong("a weight without a name of at most " + std::to_string(max_name_bytes) + " bytes");
            const std::string& id = name->get_ref<const std::string&>();
            const bool is_float = type != nullptr && *type == "float32";
            if (!is_float && (type == nullptr || *type != "int32"))
                return wrong("weight " + id + " is neither float32 nor int32");
            if (tensor.contains("quantization"))
                return wrong("weight " + id + " is quantised, which this program does not read");
            Entry entry;
            entry.offset = offset;
            entry.is_float = is_float;
            auto count = read_shape(shape == nullptr ? json() : *shape, entry.shape);
            if (!count) return wrong("weight " + id + " " + count.status().message);
            if (*count > weights.values_.size() - offset)
                return wrong("weight " + id + " of shape " + shape_text(entry.shape) +
                             " goes beyond the end of the shards");
            offset += *count;
            if (!weights.entries_.emplace(id, std::move(entry)).second) return wrong("two weights are called " + id);
        }
        if (offset - group_begin != bytes.size() / sizeof(float) || bytes.size() % sizeof(float) != 0)
            return wrong("the shards have " + std::to_string(bytes.size()) + " bytes, the manifest describes " +
                         std::to_string((offset - group_begin) * sizeof(float)));
    }
    return weights;
}

Result<const float*> Weights::tensor(std::string_view name, std::initializer_list<int64_t> shape) const {
    const auto found = entries_.find(name);
    if (found == entries_.end()) return error(Code::invalid_argument, "the model has no weight " + std::string(name));
    const Entry& entry = found->second;
    const std::vector<int64_t> wanted(shape);
    if (!entry.is_float || entry.shape != wanted)
        return error(Code::invalid_argument, "weight " + std::string(name) + " is " +
                                                 (entry.is_float ? "float32 " : "int32 ") + shape_text(entry.shape) +
                                                 ", where float32 " + shape_text(wanted) + " is expected");
    size_t count = 1;
    for (int64_t dim : wanted) count *= static_cast<size_t>(dim);
    const float* values = values_.data() + entry.offset;
    if (!std::all_of(values, values + count, [](float x) { return std::isfinite(x); }))
        return error(Code::invalid_argument, "weight " + std::string(name) + " holds a value that is not finite");
    return values;
}

}  // namespace semantic_search
