#include "windows.h"

#include <algorithm>
#include <memory>

#include "vkattn/classify.h"
#include "vkattn/named.h"

namespace long_short_windows {

using namespace vkattn;

Windows windows_at(int32_t step, int32_t steps, int32_t last_tokens) {
    const int64_t last_step = std::max(1, steps - 1), unit = last_step * block_size;
    const int64_t blocks = (int64_t{std::min(step, steps - 1)} * last_tokens + unit - 1) / unit;
    Windows windows;
    windows.long_blocks = static_cast<int32_t>(std::max<int64_t>(1, blocks));
    windows.short_blocks = std::max(1, windows.long_blocks / 2);
    return windows;
}

Mask windowed_documents() {
    const Mask near = trace_mask(
        [](Index, Index, Index q, Index kv) { return q / block_size - kv / block_size < param("window_blocks"); });
    return causal() && document(table("doc")) && near;
}

Bindings bindings_of(std::span<const int32_t> documents, int32_t window_blocks) {
    auto ids = std::make_shared<TableData>();
    ids->dims = {static_cast<int64_t>(documents.size())};
    ids->i32.assign(documents.begin(), documents.end());
    Bindings bindings;
    bindings.tables["doc"] = std::move(ids);
    bindings.scalars["window_blocks"] = window_blocks;
    return bindings;
}

Result<PaddedBlocks> newest_first_lists(std::span<const int32_t> documents) {
    const auto length = static_cast<int32_t>(documents.size());
    auto blocks =
        create_block_mask(windowed_documents(), shape_of(1, length), bindings_of(documents, length / block_size + 1),
                          {.block_q = block_size, .block_kv = block_size});
    if (!blocks) return blocks.status();
    return to_padded(*blocks, uint64_t{256} << 20, /*newest_first=*/true);
}

PaddedBlocks clamped(PaddedBlocks newest_first, int32_t window_blocks) {
    const auto clamp_counts = [&](std::vector<int32_t>& counts, const std::vector<int32_t>& indices) {
        for (size_t row = 0; row < counts.size(); ++row) {
            const int32_t* first = indices.data() + row * static_cast<size_t>(newest_first.columns);
            const auto query_block = static_cast<int32_t>(row % static_cast<size_t>(newest_first.rows));
            const auto in_window = [&](int32_t key_block) { return query_block - key_block < window_blocks; };
            counts[row] = static_cast<int32_t>(std::partition_point(first, first + counts[row], in_window) - first);
        }
    };
    clamp_counts(newest_first.num_blocks, newest_first.indices);
    clamp_counts(newest_first.full_num_blocks, newest_first.full_indices);
    return newest_first;
}

Shape shape_of(int32_t heads, int32_t length) {
    return {.batch = 1, .q_heads = heads, .kv_heads = heads, .q_len = length, .kv_len = length};
}

}  // namespace long_short_windows
