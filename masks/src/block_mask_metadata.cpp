// The words of a BlockMask as text, for files.
#include <array>
#include <charconv>

#include "block_mask_rows.h"
#include "vkattn/block_mask.h"

namespace vkattn {

using namespace block_rows;

namespace {

std::string joined(std::initializer_list<int32_t> numbers) {
    std::string text;
    for (const int32_t number : numbers) text += (text.empty() ? "" : "x") + std::to_string(number);
    return text;
}

template <size_t n>
Result<std::array<int32_t, n>> numbers_of(const std::map<std::string, std::string>& metadata, const char* name,
                                          const char* form) {
    const auto entry = metadata.find(name);
    if (entry == metadata.end()) return bad(std::string("no '") + name + "' in the metadata; " + form + " is wanted");
    std::array<int32_t, n> numbers{};
    const char *at = entry->second.data(), *end = at + entry->second.size();
    for (size_t i = 0; i < n; ++i) {
        const std::from_chars_result read = std::from_chars(at, end, numbers[i]);
        const bool followed = i + 1 < n ? read.ptr != end && *read.ptr == 'x' : read.ptr == end;
        if (read.ec != std::errc{} || numbers[i] < 0 || !followed)
            return bad(std::string("'") + name + "' in the metadata is not " + form);
        at = read.ptr + 1;
    }
    return numbers;
}

}  // namespace

std::map<std::string, std::string> metadata_of(const BlockMask& block_mask) {
    const Shape& shape = block_mask.shape;
    return {{"lists", joined({block_mask.batch, block_mask.heads})},
            {"shape", joined({shape.batch, shape.q_heads, shape.kv_heads, shape.q_len, shape.kv_len})},
            {"block_size", joined({block_mask.block_q, block_mask.block_kv})},
            {"structure_hash", block_mask.structure_hash},
            {"tables_hash", block_mask.tables_hash}};
}

Result<BlockMask> from_metadata(BlockMask arrays, const std::map<std::string, std::string>& metadata) {
    const auto lists = numbers_of<2>(metadata, "lists", "batch x heads, as in 1x8");
    if (!lists.ok()) return lists.status();
    const auto shape = numbers_of<5>(metadata, "shape", "B x Hq x Hkv x Lq x Lkv, as in 1x8x2x1024x1024");
    if (!shape.ok()) return shape.status();
    const auto blocks = numbers_of<2>(metadata, "block_size", "queries x keys, as in 128x128");
    if (!blocks.ok()) return blocks.status();
    arrays.batch = (*lists)[0];
    arrays.heads = (*lists)[1];
    arrays.shape = {(*shape)[0], (*shape)[1], (*shape)[2], (*shape)[3], (*shape)[4]};
    arrays.block_q = (*blocks)[0];
    arrays.block_kv = (*blocks)[1];
    for (const auto& [name, hash] : {std::pair<const char*, std::string*>{"structure_hash", &arrays.structure_hash},
                                     {"tables_hash", &arrays.tables_hash}}) {
        const auto entry = metadata.find(name);
        if (entry == metadata.end()) return bad(std::string("no '") + name + "' in the metadata");
        *hash = entry->second;
    }
    if (Status status = check(arrays); !status.ok()) return status;
    return arrays;
}

}  // namespace vkattn
