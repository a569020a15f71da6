#include "windows.h"

#include <algorithm>

#include "vkattn/classify.h"

namespace long_short_windows {

using namespace vkattn;

namespace {

constexpr uint64_t max_list_bytes = uint64_t{256} << 20;

}  // namespace

Windows windows_at(int32_t step, int32_t steps, int32_t last_tokens) {
    const int64_t last_step = std::max(1, steps - 1), unit = last_step * block_size;
    const int64_t blocks = (int64_t{std::min(step, steps - 1)} * last_tokens + unit - 1) / unit;
    Windows windows;
    windows.long_blocks = static_cast<int32_t>(std::max<int64_t>(1, blocks));
    windows.short_blocks = std::max(1, windows.long_blocks / 2);
    return windows;
}

Mask windowed_documents() { return modded_nanogpt::document_causal_window(table("docs"), param("window_size_blocks")); }

Bindings bindings_of(const Documents& documents, int32_t window_blocks) {
    Bindings bindings;
    bindings.tables["docs"] = documents;
    bindings.scalars["window_size_blocks"] = window_blocks;
    return bindings;
}

Shape shape_of(int32_t heads, const Documents& documents) {
    const auto length = static_cast<int32_t>(documents->count());
    return {.batch = 1, .q_heads = heads, .kv_heads = heads, .q_len = length, .kv_len = length};
}

Result<PaddedBlocks> newest_first_lists(const Documents& documents) {
    const Shape shape = shape_of(1, documents);
    const int32_t all_blocks = shape.kv_len / block_size + 1;
    auto blocks = create_block_mask(windowed_documents(), shape, bindings_of(documents, all_blocks),
                                    {.block_q = block_size, .block_kv = block_size});
    if (!blocks) return blocks.status();
    return to_padded(*blocks, max_list_bytes, /*newest_first=*/true, /*strict_edges=*/true);
}

Result<ListPair> lists_for(const PaddedBlocks& newest_first, const Shape& shape, const Windows& windows) {
    const PaddedBlocks long_lists = modded_nanogpt::clamp_to_window(newest_first, windows.long_blocks);
    auto long_mask = from_kv_blocks(long_lists, shape, block_size, block_size);
    if (!long_mask) return long_mask.status();
    auto short_mask = from_kv_blocks(modded_nanogpt::clamp_to_window(long_lists, windows.short_blocks), shape,
                                     block_size, block_size);
    if (!short_mask) return short_mask.status();
    return ListPair{{*std::move(long_mask), *std::move(short_mask)}};
}

}  // namespace long_short_windows
