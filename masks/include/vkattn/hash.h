// One 128-bit content hash (xxh3) for structures, block lists and cached files. Not cryptographic.
#pragma once

#include <string>
#include <string_view>

namespace vkattn {

// 32 hex digits of the bytes.
std::string hash_hex(std::string_view bytes);

}  // namespace vkattn
