// Token ids with end-of-text markers: one stands before each document, as in modded-nanogpt's data.
#pragma once

#include <filesystem>
#include <vector>

#include "vkattn/result.h"

namespace long_short_windows {

// Documents of very unequal lengths, the same on every machine.
std::vector<int32_t> made_up_tokens(int32_t count, int32_t end_of_text);

// The tensor `tokens` [n] (I32, I64 or U8) of a safetensors file, or its only tensor; at most `limit` of them.
vkattn::Result<std::vector<int32_t>> read_tokens(const std::filesystem::path& path, int32_t limit);

}  // namespace long_short_windows
