#include "tensors.h"

#include <array>
#include <cstring>
#include <limits>
#include <optional>

#include "command.h"
#include "support/half.h"

namespace vkattn::cli {
namespace {

using support::DType;
using support::Tensor;

Status bad(std::string message) { return error(Code::invalid_argument, std::move(message)); }

std::optional<ElementType> element_type(DType dtype) {
    if (dtype == DType::f32) return ElementType::f32;
    if (dtype == DType::f16) return ElementType::f16;
    if (dtype == DType::bf16) return ElementType::bf16;
    return std::nullopt;
}

std::string list_of(const support::Safetensors& file) {
    constexpr size_t shown = 12;
    std::string names;
    for (size_t i = 0; i < file.tensors().size() && i < shown; i++)
        names += (i == 0 ? "" : ", ") + file.tensors()[i].name;
    if (file.tensors().size() > shown) names += ", ...";
    return names.empty() ? "no tensor" : names;
}

// A 4-dimensional float tensor of the file.
Result<const Tensor*> find_one(const support::Safetensors& file, const char* name, const char* dims) {
    const Tensor* tensor = file.find(name);
    const std::string wanted = std::string(name) + " " + dims;
    if (tensor == nullptr)
        return bad("there is no tensor '" + std::string(name) + "'; wanted is " + wanted + ", the file has " +
                   list_of(file));
    if (!element_type(tensor->dtype))
        return bad(std::string(name) + " is of type " + tensor->dtype_text + "; F32, F16 and BF16 are supported");
    if (tensor->shape.size() != 4)
        return bad(std::string(name) + " is " + tensor->shape_text() + "; wanted is " + wanted);
    for (const int64_t length : tensor->shape)
        if (length > std::numeric_limits<int32_t>::max())
            return bad(std::string(name) + " is " + tensor->shape_text() + ": a length is beyond 2^31 - 1");
    return tensor;
}

// xorshift: quick, the same on every machine, and good enough to fill tensors.
class Values {
  public:
    explicit Values(uint32_t seed) : state_(seed) {}
    float next() {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 17;
        state_ ^= state_ << 5;
        return static_cast<float>(state_ >> 8) * 0x1p-23f - 1.0f;
    }

  private:
    uint32_t state_;
};

void fill(AttentionTensors::One& tensor, ElementType type, int64_t count, uint32_t seed) {
    Values values(seed);
    tensor.type = type;
    tensor.storage.resize(static_cast<size_t>(count) * element_bytes(type));
    uint8_t* at = tensor.storage.data();
    for (int64_t i = 0; i < count; i++, at += element_bytes(type)) {
        const float value = values.next();
        const uint16_t narrow = type == ElementType::bf16 ? support::f32_to_bf16(value) : support::f32_to_f16(value);
        if (type == ElementType::f32) std::memcpy(at, &value, sizeof value);
        else std::memcpy(at, &narrow, sizeof narrow);
    }
    tensor.bytes = tensor.storage;
}

}  // namespace

Result<AttentionTensors> find_tensors(const support::Safetensors& file) {
    auto q = find_one(file, "q", "[B, Hq, Lq, D]");
    if (!q) return q.status();
    auto k = find_one(file, "k", "[B, Hkv, Lkv, D]");
    if (!k) return k.status();
    auto v = find_one(file, "v", "[B, Hkv, Lkv, Dv]");
    if (!v) return v.status();
    const auto &qs = (*q)->shape, &ks = (*k)->shape, &vs = (*v)->shape;
    const std::string shapes = "q " + (*q)->shape_text() + ", k " + (*k)->shape_text() + ", v " + (*v)->shape_text();
    if (qs[0] != ks[0] || qs[0] != vs[0]) return bad("q, k and v differ in batch (dimension 0): " + shapes);
    if (ks[1] != vs[1]) return bad("k and v differ in heads (dimension 1): " + shapes);
    if (ks[2] != vs[2]) return bad("k and v differ in length (dimension 2): " + shapes);
    if (qs[3] != ks[3]) return bad("q and k differ in head dimension D (dimension 3): " + shapes);
    for (size_t dim : {size_t{0}, size_t{1}, size_t{3}})
        if (qs[dim] == 0 || ks[dim] == 0 || vs[dim] == 0)
            return bad("batch, heads, D and Dv are at least 1; here: " + shapes);
    if (qs[1] % ks[1] != 0)
        return bad("q's " + std::to_string(qs[1]) + " heads are no multiple of k's " + std::to_string(ks[1]) + ": " +
                   shapes);

    AttentionTensors tensors;
    tensors.shape.batch = static_cast<int32_t>(qs[0]);
    tensors.shape.q_heads = static_cast<int32_t>(qs[1]);
    tensors.shape.kv_heads = static_cast<int32_t>(ks[1]);
    tensors.shape.q_len = static_cast<int32_t>(qs[2]);
    tensors.shape.kv_len = static_cast<int32_t>(ks[2]);
    tensors.head_dim = static_cast<int32_t>(qs[3]);
    tensors.value_dim = static_cast<int32_t>(vs[3]);
    tensors.q = {*element_type((*q)->dtype), (*q)->bytes, {}};
    tensors.k = {*element_type((*k)->dtype), (*k)->bytes, {}};
    tensors.v = {*element_type((*v)->dtype), (*v)->bytes, {}};
    return tensors;
}

Result<AttentionTensors> random_tensors(std::string_view sizes, ElementType type) {
    constexpr int64_t max_elements = int64_t{1} << 32;
    const auto parts = split(sizes, 'x');
    if (parts.size() != 4 && parts.size() != 6)
        return bad("'" + std::string(sizes) + "': BxHxLxD or BxHqxHkvxLqxLkvxD is wanted, as in 1x8x1024x64");
    std::vector<int32_t> n;
    for (const std::string_view part : parts) {
        auto value = parse_integer(part, 0, std::numeric_limits<int32_t>::max());
        if (!value) return value.status();
        n.push_back(static_cast<int32_t>(*value));
    }
    const bool short_form = n.size() == 4;
    AttentionTensors tensors;
    tensors.shape = short_form ? Shape{n[0], n[1], n[1], n[2], n[2]} : Shape{n[0], n[1], n[2], n[3], n[4]};
    tensors.head_dim = tensors.value_dim = n.back();
    if (Status status = check(tensors.shape); !status.ok()) return status;
    if (tensors.head_dim < 1) return bad("D is 0, it must be at least 1");
    const Shape& s = tensors.shape;
    const auto elements = [&](int32_t heads, int32_t length) {
        int64_t count = s.batch;
        for (const int32_t factor : {heads, length, tensors.head_dim}) {
            if (factor != 0 && count > max_elements / factor) return max_elements + 1;
            count *= factor;
        }
        return count;
    };
    const int64_t q_elements = elements(s.q_heads, s.q_len), kv_elements = elements(s.kv_heads, s.kv_len);
    if (q_elements > max_elements || kv_elements > max_elements)
        return bad("'" + std::string(sizes) + "' has more than 2^32 elements in a tensor");
    fill(tensors.q, type, q_elements, 0x9e3779b9u);
    fill(tensors.k, type, kv_elements, 0x7f4a7c15u);
    fill(tensors.v, type, kv_elements, 0x94d049bbu);
    return tensors;
}

support::DType dtype_of(ElementType type) {
    switch (type) {
    case ElementType::f32: return DType::f32;
    case ElementType::f16: return DType::f16;
    case ElementType::bf16: return DType::bf16;
    }
    return DType::other;
}

std::vector<float> widened(std::span<const uint8_t> bytes, ElementType type) {
    std::vector<float> values(bytes.size() / element_bytes(type));
    if (type == ElementType::f32) {
        if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
        return values;
    }
    for (size_t i = 0; i < values.size(); i++) {
        uint16_t bits = 0;
        std::memcpy(&bits, bytes.data() + 2 * i, sizeof bits);
        values[i] = type == ElementType::f16 ? support::f16_to_f32(bits) : support::bf16_to_f32(bits);
    }
    return values;
}

double ulp_at_one(ElementType type) {
    switch (type) {
    case ElementType::f32: return 0x1p-23;
    case ElementType::f16: return 0x1p-10;
    case ElementType::bf16: return 0x1p-7;
    }
    return 0.0;
}

}  // namespace vkattn::cli
