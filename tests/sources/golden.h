// The golden files (tests/golden/make_golden.py says how they are laid out), and the checks that every mask of every
// source goes through: elements by C++ and by text, printed and read back, block lists, sparsity, pictures, attention.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "support/safetensors.h"
#include "vkattn/bindings.h"
#include "vkattn/block_mask.h"
#include "vkattn/mask.h"
#include "vkattn/reference.h"

namespace vkattn::test {

// Missing tensors and wrong types end the test.
class GoldenFile {
  public:
    explicit GoldenFile(std::string_view source);  // "flex_attention"

    bool has(const std::string& name) const { return file_.find(name) != nullptr; }
    std::vector<std::string> names_under(const std::string& prefix) const;  // of tensors, without the prefix
    std::vector<int32_t> ints(const std::string& name) const;
    std::vector<float> floats(const std::string& name) const;
    std::vector<double> doubles(const std::string& name) const;
    std::vector<uint8_t> bytes(const std::string& name) const;
    std::vector<int64_t> dims(const std::string& name) const;
    std::vector<uint8_t> packed_bits(const std::string& name, size_t count) const;  // one byte an element
    TableData table(const std::string& name) const;
    std::string metadata(const std::string& name) const;

    Shape shape(const std::string& at) const;      // of at/shape
    Bindings tables(const std::string& at) const;  // at/table/NAME and at/scalar/NAME by name
    int32_t scalar(const std::string& at, const std::string& name) const;
    std::vector<int32_t> list(const std::string& at, const std::string& name) const;  // at/table/NAME
    // The arrays at/kv_num_blocks ...
    PaddedBlocks blocks(const std::string& at) const;

  private:
    const support::Tensor& tensor(const std::string& name) const;
    support::Safetensors file_;
};

// Scalars that a case takes from its shape ("window_of" in make_golden.py).
using Scalars = std::function<void(const Shape& shape, Bindings& bindings)>;

struct MaskCase {
    std::string name;
    Mask mask;
    std::string text;
    Scalars scalars = nullptr;
};
// Every size of the case in the file; at least one must be there. Returns how many block lists were compared.
int check_mask(const GoldenFile& file, const MaskCase& mask_case);

// A constructor that takes numbers or data of the case: a mask for each size, at "CASE/SIZE". The text may name the
// tables that the mask captures, and the case's scalars and tables.
struct SizedCase {
    std::string name;
    std::function<Mask(const std::string& at)> make;
    std::function<std::string(const std::string& at)> text;
};
int check_mask(const GoldenFile& file, const SizedCase& sized_case);

// o and lse of `at` for the file's inputs, within `tolerance` (absolute; values and outputs are of the order of 1).
void check_attention(const GoldenFile& file, const std::string& at, const Mask& mask, const ScoreMod& score_mod,
                     const Bindings& bindings, double tolerance);

Result<Mask> parsed_mask(const std::string& text, const Mask& with_types_of);
void check_dense(const std::vector<uint8_t>& expected, const Mask& mask, const Shape& shape, const Bindings& bindings);
// make_golden.py's window_of.
int32_t window_of(int32_t q_len);
void bind_window(const Shape& shape, Bindings& bindings);  // param("w")

}  // namespace vkattn::test
