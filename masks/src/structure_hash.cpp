#include "structure_hash.h"

#include <cstdint>

#include <xxhash.h>

#include "vkattn/normalise.h"

namespace vkattn {
namespace detail {

std::string hash_hex(std::string_view bytes) {
    const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
    std::string hex;
    for (const uint64_t half : {uint64_t{hash.high64}, uint64_t{hash.low64}}) {
        for (int shift = 60; shift >= 0; shift -= 4) hex += "0123456789abcdef"[(half >> shift) & 15];
    }
    return hex;
}

}  // namespace detail

namespace {

// Little-endian, so that every machine hashes alike.
void append(std::string& bytes, uint32_t value) {
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>((value >> shift) & 255u);
}

}  // namespace

// Op's numbers are part of the hash: a version that inserts an operator has other hashes, and so finds no stale shader.
std::string structure_hash(const Tree& normalised) {
    std::string bytes;
    for (const Node& node : normalised.nodes) {
        append(bytes, static_cast<uint32_t>(node.op) << 16 | static_cast<uint32_t>(node.type) << 8 | node.n_args);
        append(bytes, node.payload);
        for (uint8_t a = 0; a < node.n_args; ++a) append(bytes, static_cast<uint32_t>(node.args[a]));
    }
    append(bytes, 0xffffffffu);
    for (const TableRef& table : normalised.tables) {
        append(bytes, static_cast<uint32_t>(table.type) << 8 | table.n_dims);
    }
    append(bytes, 0xffffffffu);
    for (const SlotRef& slot : normalised.slots) {
        append(bytes, static_cast<uint32_t>(slot.type) << 8 | (slot.specialised ? 1u : 0u));
    }
    return detail::hash_hex(bytes);
}

}  // namespace vkattn
