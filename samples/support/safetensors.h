// safetensors files: 8 bytes header length, a JSON header, then the tensors' bytes. A file is untrusted: every length, offset and
// product in it is checked against what is really there before it is used, and errors name the tensor and the reason.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vkattn/result.h"

namespace vkattn::support {

// `other` is a type that this program does not know: such a tensor is listed and cannot be read.
enum class DType : uint8_t {
    f64,
    f32,
    f16,
    bf16,
    i64,
    i32,
    i16,
    i8,
    u64,
    u32,
    u16,
    u8,
    boolean,
    f8_e5m2,
    f8_e4m3,
    other
};
std::string_view to_string(DType dtype);  // "F32", "BOOL", ...; "?" for other
uint32_t size_bytes(DType dtype);         // of one element; 0 for other

struct Tensor {
    std::string name;
    DType dtype = DType::other;
    std::string dtype_text;  // as in the file
    std::vector<int64_t> shape;
    std::span<const uint8_t> bytes;  // inside the Safetensors it came from; not aligned

    int64_t count() const;           // elements
    std::string shape_text() const;  // "[2, 8, 1024, 64]"
};

// A whole file in memory. Move-only: tensors point into it.
class Safetensors {
  public:
    static Result<Safetensors> open(const std::filesystem::path& path);
    static Result<Safetensors> parse(std::vector<uint8_t> file);

    Safetensors(Safetensors&&) = default;
    Safetensors& operator=(Safetensors&&) = default;

    const std::vector<Tensor>& tensors() const { return tensors_; }  // in the order of their bytes
    const Tensor* find(std::string_view name) const;                 // null: there is none
    const std::map<std::string, std::string>& metadata() const { return metadata_; }

  private:
    Safetensors() = default;

    std::vector<uint8_t> file_;
    std::vector<Tensor> tensors_;
    std::map<std::string, std::string> metadata_;
};

// Elements as numbers. Errors name the tensor, its type and the types that would do.
Result<std::vector<float>> to_f32(const Tensor& tensor);     // F32, F16, BF16
Result<std::vector<int32_t>> to_i32(const Tensor& tensor);   // I32, I64 (each value checked), U8, BOOL (0 or 1)
Result<std::vector<uint8_t>> to_bool(const Tensor& tensor);  // BOOL, U8: 0 or 1

// A tensor to be written: bytes must be count(shape) * size_bytes(dtype) long.
struct TensorSource {
    std::string name;
    DType dtype = DType::f32;
    std::vector<int64_t> shape;
    std::span<const uint8_t> bytes;
};
template <class T>
std::span<const uint8_t> bytes_of(const std::vector<T>& elements) {
    return {reinterpret_cast<const uint8_t*>(elements.data()), elements.size() * sizeof(T)};
}

// Written beside `path` and renamed over it, so that a reader sees the old file or the new one.
Status write_safetensors(const std::filesystem::path& path, std::span<const TensorSource> tensors,
                         const std::map<std::string, std::string>& metadata = {});

}  // namespace vkattn::support
