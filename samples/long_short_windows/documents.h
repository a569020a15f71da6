// Token ids, and the documents in them: an end-of-text marker stands before each document, as in modded-nanogpt's data.
#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include "vkattn/result.h"

namespace long_short_windows {

constexpr int32_t gpt2_end_of_text = 50256;  // also the number of GPT-2's other tokens

// Documents of very unequal lengths, the same on every machine.
std::vector<int32_t> made_up_tokens(int32_t count, int32_t end_of_text);

// The tensor `tokens` [n] (I32, I64 or U8) of a safetensors file, or its only tensor; at most `limit` of them.
vkattn::Result<std::vector<int32_t>> read_tokens(const std::filesystem::path& path, int32_t limit);

// How many markers stand at or before each position.
std::vector<int32_t> document_ids(std::span<const int32_t> tokens, int32_t end_of_text);

}  // namespace long_short_windows
