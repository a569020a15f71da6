// 128-bit hashes as 32 hex digits.
#pragma once

#include <string>
#include <string_view>

namespace vkattn::detail {

std::string hash_hex(std::string_view bytes);

}  // namespace vkattn::detail
