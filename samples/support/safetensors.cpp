// Reader and writer of safetensors.
#include "support/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>

#include <nlohmann/json.hpp>

#include "support/file.h"
#include "support/half.h"
#include "support/safetensors_header.h"

namespace vkattn::support {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian, and so are these copies");

constexpr uint64_t max_header_bytes = 100'000'000;  // the reference implementation's limit
constexpr uint64_t length_bytes = 8;

struct DTypeRow {
    DType dtype;
    std::string_view text;
    uint32_t bytes;
};
constexpr std::array<DTypeRow, 16> dtypes = {{
    {DType::f64, "F64", 8},
    {DType::f32, "F32", 4},
    {DType::f16, "F16", 2},
    {DType::bf16, "BF16", 2},
    {DType::i64, "I64", 8},
    {DType::i32, "I32", 4},
    {DType::i16, "I16", 2},
    {DType::i8, "I8", 1},
    {DType::u64, "U64", 8},
    {DType::u32, "U32", 4},
    {DType::u16, "U16", 2},
    {DType::u8, "U8", 1},
    {DType::boolean, "BOOL", 1},
    {DType::f8_e5m2, "F8_E5M2", 1},
    {DType::f8_e4m3, "F8_E4M3", 1},
    {DType::other, "?", 0},
}};

const DTypeRow& row(DType dtype) {
    return *std::find_if(dtypes.begin(), dtypes.end() - 1, [&](const DTypeRow& r) { return r.dtype == dtype; });
}
DType from_text(std::string_view text) {
    return std::find_if(dtypes.begin(), dtypes.end() - 1, [&](const DTypeRow& r) { return r.text == text; })->dtype;
}

Status bad(std::string message) { return error(Code::invalid_argument, std::move(message)); }
Status bad(std::string_view tensor, const std::string& message) {
    return bad("tensor '" + std::string(tensor.substr(0, 200)) + "': " + message);
}
std::string number(uint64_t value) { return std::to_string(value); }

std::string shape_of(std::span<const int64_t> shape) {
    std::string text = "[";
    for (size_t i = 0; i < shape.size(); i++) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
    return text + "]";
}

// Bytes of a shape; nothing when they do not fit 63 bits. A 0 does not excuse the other lengths: products of them are used later.
std::optional<uint64_t> product(std::span<const uint64_t> shape, uint64_t element_bytes) {
    constexpr uint64_t limit = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    uint64_t bytes = element_bytes;
    bool empty = false;
    for (const uint64_t length : shape) {
        if (length == 0) {
            empty = true;
            continue;
        }
        if (bytes > limit / length) return std::nullopt;
        bytes *= length;
    }
    return empty ? 0 : bytes;
}

Result<Tensor> to_tensor(HeaderEntry&& entry, std::span<const uint8_t> data) {
    Tensor tensor;
    tensor.dtype = from_text(entry.dtype);
    const uint64_t begin = entry.data_offsets[0], end = entry.data_offsets[1];
    if (begin > end)
        return bad(entry.name, "its data_offsets [" + number(begin) + ", " + number(end) + "] run backwards");
    if (end > data.size())
        return bad(entry.name, "its data_offsets end at " + number(end) + ", the file has " + number(data.size()) +
                                   " bytes of data");
    const auto bytes = product(entry.shape, std::max(size_bytes(tensor.dtype), 1u));
    if (!bytes) return bad(entry.name, "its shape has more elements than any file");
    tensor.shape.assign(entry.shape.begin(), entry.shape.end());
    if (tensor.dtype != DType::other && *bytes != end - begin)
        return bad(entry.name, entry.dtype + " " + shape_of(tensor.shape) + " takes " + number(*bytes) +
                                   " bytes, its data_offsets hold " + number(end - begin));
    tensor.name = std::move(entry.name);
    tensor.dtype_text = std::move(entry.dtype);
    tensor.bytes = data.subspan(begin, end - begin);
    return tensor;
}

Status refused(const Tensor& tensor, const char* wanted) {
    return bad(tensor.name, "it is of type " + tensor.dtype_text + ", where " + wanted + " is needed");
}

template <class T>
T element(const Tensor& tensor, size_t i) {
    T value;
    std::memcpy(&value, tensor.bytes.data() + i * sizeof(T), sizeof(T));
    return value;
}

}  // namespace

std::string_view to_string(DType dtype) { return row(dtype).text; }
uint32_t size_bytes(DType dtype) { return row(dtype).bytes; }

int64_t Tensor::count() const {
    int64_t elements = 1;
    for (const int64_t length : shape) elements *= length;
    return elements;
}

std::string Tensor::shape_text() const { return shape_of(shape); }

Result<Safetensors> Safetensors::open(const std::filesystem::path& path) {
    auto bytes = read_file(path);
    if (!bytes) return bytes.status();
    auto file = parse(std::move(*bytes));
    if (!file) return error(file.status().code, path.string() + ": " + file.status().message);
    return file;
}

Result<Safetensors> Safetensors::parse(std::vector<uint8_t> bytes) {
    Safetensors file;
    file.file_ = std::move(bytes);
    const std::span<const uint8_t> all(file.file_);
    if (all.size() < length_bytes)
        return bad("this is no safetensors file: it has " + number(all.size()) +
                   " bytes, and 8 already are the header's length");
    uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, all.data(), length_bytes);
    if (header_bytes > max_header_bytes)
        return bad("this is no safetensors file: its header would be " + number(header_bytes) +
                   " bytes long, at most " + number(max_header_bytes) + " are allowed");
    if (header_bytes > all.size() - length_bytes)
        return bad("the file is cut off: its header is " + number(header_bytes) + " bytes long, " +
                   number(all.size() - length_bytes) + " are there");
    const std::string_view json(reinterpret_cast<const char*>(all.data()) + length_bytes, header_bytes);
    if (json.empty() || json.front() != '{') return bad("the header does not begin with '{'");
    auto header = parse_header(json);
    if (!header) return header.status();

    const std::span<const uint8_t> data = all.subspan(length_bytes + header_bytes);
    for (HeaderEntry& entry : header->entries) {
        auto tensor = to_tensor(std::move(entry), data);
        if (!tensor) return tensor.status();
        file.tensors_.push_back(std::move(*tensor));
    }
    // In the order of their bytes, those without any before those that begin at the same place: then neighbours touch exactly.
    std::sort(file.tensors_.begin(), file.tensors_.end(), [](const Tensor& a, const Tensor& b) {
        if (a.bytes.data() != b.bytes.data()) return a.bytes.data() < b.bytes.data();
        return a.bytes.size() != b.bytes.size() ? a.bytes.size() < b.bytes.size() : a.name < b.name;
    });
    const uint8_t* expected = data.data();
    for (const Tensor& tensor : file.tensors_) {
        if (tensor.bytes.data() < expected) return bad(tensor.name, "its bytes overlap those of another tensor");
        if (tensor.bytes.data() > expected)
            return bad(tensor.name, number(static_cast<uint64_t>(tensor.bytes.data() - expected)) +
                                        " bytes before it belong to no tensor");
        expected += tensor.bytes.size();
    }
    if (expected != data.data() + data.size())
        return bad(number(static_cast<uint64_t>(data.data() + data.size() - expected)) +
                   " bytes at the end belong to no tensor");
    file.metadata_ = std::move(header->metadata);
    return file;
}

const Tensor* Safetensors::find(std::string_view name) const {
    const auto found = std::find_if(tensors_.begin(), tensors_.end(), [&](const Tensor& t) { return t.name == name; });
    return found == tensors_.end() ? nullptr : &*found;
}

Result<std::vector<float>> to_f32(const Tensor& tensor) {
    std::vector<float> values;
    if (tensor.dtype != DType::f32 && tensor.dtype != DType::f16 && tensor.dtype != DType::bf16)
        return refused(tensor, "F32, F16 or BF16");
    values.resize(static_cast<size_t>(tensor.count()));
    if (tensor.dtype == DType::f32) {
        if (!values.empty()) std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
    } else if (tensor.dtype == DType::f16) {
        for (size_t i = 0; i < values.size(); i++) values[i] = f16_to_f32(element<uint16_t>(tensor, i));
    } else {
        for (size_t i = 0; i < values.size(); i++) values[i] = bf16_to_f32(element<uint16_t>(tensor, i));
    }
    return values;
}

Result<std::vector<int32_t>> to_i32(const Tensor& tensor) {
    const bool bytes = tensor.dtype == DType::boolean || tensor.dtype == DType::u8;
    if (tensor.dtype != DType::i32 && tensor.dtype != DType::i64 && !bytes)
        return refused(tensor, "I32, I64, U8 or BOOL");
    std::vector<int32_t> values(static_cast<size_t>(tensor.count()));
    if (tensor.dtype == DType::i32 && !values.empty())
        std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
    for (size_t i = 0; bytes && i < values.size(); i++)
        values[i] = tensor.dtype == DType::boolean ? (tensor.bytes[i] != 0 ? 1 : 0) : tensor.bytes[i];
    for (size_t i = 0; tensor.dtype == DType::i64 && i < values.size(); i++) {
        const int64_t value = element<int64_t>(tensor, i);
        if (value < std::numeric_limits<int32_t>::min() || value > std::numeric_limits<int32_t>::max())
            return bad(tensor.name,
                       "element " + number(i) + " is " + std::to_string(value) + ", which does not fit 32 bits");
        values[i] = static_cast<int32_t>(value);
    }
    return values;
}

Result<std::vector<uint8_t>> to_bool(const Tensor& tensor) {
    if (tensor.dtype != DType::boolean && tensor.dtype != DType::u8) return refused(tensor, "BOOL or U8");
    std::vector<uint8_t> values(tensor.bytes.begin(), tensor.bytes.end());
    for (uint8_t& value : values) value = value != 0 ? 1 : 0;
    return values;
}

Status write_safetensors(const std::filesystem::path& path, std::span<const TensorSource> tensors,
                         const std::map<std::string, std::string>& metadata) {
    nlohmann::ordered_json header = nlohmann::ordered_json::object();
    if (!metadata.empty()) header["__metadata__"] = metadata;
    std::vector<std::span<const uint8_t>> chunks(1);
    uint64_t offset = 0;
    for (const TensorSource& tensor : tensors) {
        const std::vector<uint64_t> shape(tensor.shape.begin(), tensor.shape.end());
        const auto bytes = product(shape, size_bytes(tensor.dtype));
        if (tensor.dtype == DType::other || !bytes || *bytes != tensor.bytes.size())
            return bad(tensor.name, std::string(to_string(tensor.dtype)) + " " + shape_of(tensor.shape) +
                                        " is not what its " + number(tensor.bytes.size()) + " bytes hold");
        if (tensor.name == "__metadata__" || header.contains(tensor.name)) return bad(tensor.name, "the name is taken");
        header[tensor.name] = {
            {"dtype", to_string(tensor.dtype)}, {"shape", tensor.shape}, {"data_offsets", {offset, offset + *bytes}}};
        chunks.push_back(tensor.bytes);
        offset += *bytes;
    }
    std::string text = header.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
    text.resize((text.size() + 7) / 8 * 8, ' ');  // the data begin on a multiple of 8 bytes
    std::vector<uint8_t> head(length_bytes + text.size());
    const uint64_t header_bytes = text.size();
    std::memcpy(head.data(), &header_bytes, length_bytes);
    std::memcpy(head.data() + length_bytes, text.data(), text.size());
    chunks[0] = head;
    return write_file(path, chunks);
}

}  // namespace vkattn::support
