#include <cstdint>

#include "vkattn/hash.h"
#include "vkattn/normalise.h"

namespace vkattn {
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
    return hash_hex(bytes);
}

}  // namespace vkattn
