#include "vkattn/hash.h"

#include <cstdint>

#include <xxhash.h>

namespace vkattn {

std::string hash_hex(std::string_view bytes) {
    const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
    std::string hex;
    for (const uint64_t half : {uint64_t{hash.high64}, uint64_t{hash.low64}}) {
        for (int shift = 60; shift >= 0; shift -= 4) hex += "0123456789abcdef"[(half >> shift) & 15];
    }
    return hex;
}

}  // namespace vkattn
