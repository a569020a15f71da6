// The JSON header of a safetensors file, read by a strict automaton: no document is built, so what a hostile header costs is
// bounded by its length.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "vkattn/result.h"

namespace vkattn::support {

struct HeaderEntry {
    std::string name;
    std::string dtype;
    std::vector<uint64_t> shape;
    std::vector<uint64_t> data_offsets;  // two when read
};
struct Header {
    std::vector<HeaderEntry> entries;  // as in the text; names are unique
    std::map<std::string, std::string> metadata;
};

Result<Header> parse_header(std::string_view json);

}  // namespace vkattn::support
