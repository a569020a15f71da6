// modded-nanogpt's documents, masks and lists.
#include "vkattn/sources/nanogpt.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <string>

#include "vkattn/classify.h"
#include "vkattn/named.h"

namespace vkattn::modded_nanogpt {

Result<TableData> documents(std::span<const int32_t> tokens, int32_t end_of_text_id) {
    if (tokens.empty() || tokens.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
        return error(Code::invalid_argument,
                     "documents: there are " + std::to_string(tokens.size()) + " tokens, it takes 1 to 2147483647");
    }
    TableData docs;
    docs.dims = {static_cast<int64_t>(tokens.size())};
    docs.i32.reserve(tokens.size());
    int32_t document = 0;
    for (const int32_t token : tokens) {
        if (token == end_of_text_id) ++document;
        docs.i32.push_back(document);
    }
    return docs;
}

Mask document_causal(TableExpr docs) { return causal() && document(docs); }

Mask document_causal_window(TableExpr docs, Expr window_size_blocks, Expr block) {
    return document_causal(docs) && trace_mask([&](Index, Index, Index q, Index kv) {
               return q / block - kv / block < max(window_size_blocks, 1);
           });
}

PaddedBlocks clamp_to_window(PaddedBlocks all_newest_first, int32_t window_size_blocks) {
    PaddedBlocks& blocks = all_newest_first;
    for (size_t row = 0; row < blocks.num_blocks.size(); ++row) {
        const int32_t full = row < blocks.full_num_blocks.size() ? blocks.full_num_blocks[row] : 0;
        blocks.num_blocks[row] = std::min(blocks.num_blocks[row], std::max(window_size_blocks - full, 1));
        if (row < blocks.full_num_blocks.size())
            blocks.full_num_blocks[row] = std::min(full, std::max(window_size_blocks - 1, 0));
    }
    return all_newest_first;
}

Result<BlockMasks> create_blockmasks(std::span<const int32_t> tokens, int32_t window_size_blocks,
                                     int32_t end_of_text_id) {
    if (window_size_blocks < 1) {
        return error(Code::invalid_argument, "create_blockmasks: window_size_blocks is " +
                                                 std::to_string(window_size_blocks) + ", it must be at least 1");
    }
    if (tokens.size() % static_cast<size_t>(block_size) != 0) {
        return error(Code::invalid_argument, "create_blockmasks: there are " + std::to_string(tokens.size()) +
                                                 " tokens, it takes a multiple of " + std::to_string(block_size));
    }
    Result<TableData> docs = documents(tokens, end_of_text_id);
    if (!docs) return docs.status();
    Shape shape;
    shape.q_len = shape.kv_len = static_cast<int32_t>(tokens.size());
    Bindings bindings;
    bindings.tables["docs"] = std::make_shared<const TableData>(std::move(*docs));
    const ClassifyOptions options{block_size, block_size};
    const Result<BlockMask> all = create_block_mask(document_causal(table("docs")), shape, bindings, options);
    if (!all) return all.status();
    Result<PaddedBlocks> padded = to_padded(*all, std::numeric_limits<uint64_t>::max(), /*newest_first=*/true);
    if (!padded) return padded.status();
    return BlockMasks{clamp_to_window(*padded, window_size_blocks), clamp_to_window(*padded, window_size_blocks / 2)};
}

}  // namespace vkattn::modded_nanogpt
