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

std::string tables_hash(const ResolvedBindings& bindings) {
    std::string bytes;
    for (const auto& table : bindings.tables) {
        append(bytes, static_cast<uint32_t>(table->type));
        for (int64_t dim : table->dims) append(bytes, static_cast<uint32_t>(dim));
        auto content = [](const auto& elements) {
            return std::string_view(reinterpret_cast<const char*>(elements.data()),
                                    elements.size() * sizeof elements[0]);
        };
        bytes += hash_hex(content(table->i32)) + hash_hex(content(table->f32)) + hash_hex(content(table->boolean));
    }
    return bytes.empty() ? std::string() : hash_hex(bytes);
}

}  // namespace vkattn
