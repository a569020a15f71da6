#include "support/block_mask_file.h"

#include <cstring>

namespace vkattn::support {
namespace {

// The elements of a U32 tensor as words; `columns` is its last dimension, 0: the tensor has one.
Result<std::vector<uint32_t>> words_of(const Safetensors& file, const char* name, int64_t columns) {
    const Tensor* tensor = file.find(name);
    const std::string wanted = columns == 0 ? " [n]" : " [n, " + std::to_string(columns) + "]";
    if (tensor == nullptr)
        return error(Code::invalid_argument, std::string("no tensor '") + name + "'; U32" + wanted + " is wanted");
    const bool fits =
        columns == 0 ? tensor->shape.size() == 1 : tensor->shape.size() == 2 && tensor->shape[1] == columns;
    if (tensor->dtype != DType::u32 || !fits)
        return error(Code::invalid_argument, std::string("tensor '") + name + "' is " + tensor->dtype_text + " " +
                                                 tensor->shape_text() + ", U32" + wanted + " is wanted");
    std::vector<uint32_t> words(static_cast<size_t>(tensor->count()));
    if (!words.empty()) std::memcpy(words.data(), tensor->bytes.data(), tensor->bytes.size());
    return words;
}

}  // namespace

std::vector<TensorSource> block_mask_tensors(const BlockMask& block_mask) {
    const auto size = [](const auto& elements) { return static_cast<int64_t>(elements.size()); };
    return {{"row_offsets", DType::u32, {size(block_mask.row_offsets)}, bytes_of(block_mask.row_offsets)},
            {"runs", DType::u32, {size(block_mask.runs), 2}, bytes_of(block_mask.runs)},
            {"slot_values", DType::u32, {size(block_mask.slot_values)}, bytes_of(block_mask.slot_values)}};
}

Result<BlockMask> read_block_mask(const Safetensors& file) {
    auto row_offsets = words_of(file, "row_offsets", 0);
    if (!row_offsets) return row_offsets.status();
    auto runs = words_of(file, "runs", 2);
    if (!runs) return runs.status();
    auto slot_values = words_of(file, "slot_values", 0);
    if (!slot_values) return slot_values.status();
    BlockMask arrays;
    arrays.row_offsets = *std::move(row_offsets);
    arrays.slot_values = *std::move(slot_values);
    arrays.runs.reserve(runs->size() / 2);
    for (size_t i = 0; i + 1 < runs->size(); i += 2) arrays.runs.push_back({(*runs)[i], (*runs)[i + 1]});
    return from_metadata(std::move(arrays), file.metadata());
}

}  // namespace vkattn::support
