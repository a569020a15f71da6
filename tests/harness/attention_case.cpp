#include "attention_case.h"

#include <cstdlib>
#include <iterator>
#include <sstream>

#include <doctest/doctest.h>

namespace vkattn_tests {
namespace {

constexpr std::string_view layout_names[] = {"bhld", "blhd", "packed", "broadcast", "padded", "odd"};
constexpr std::string_view poison_names[] = {"none", "unattended", "partial"};
constexpr std::string_view type_names[] = {"f32", "f16", "bf16"};
constexpr std::string_view schedule_names[] = {"automatic", "dense", "interval", "list"};
constexpr std::string_view path_names[] = {"automatic", "scalar", "khr", "nv"};
constexpr std::string_view skeleton_names[] = {"automatic", "rows", "tiles"};
constexpr std::string_view encoding_names[] = {"runs", "indices"};
constexpr std::string_view widen_names[] = {"automatic", "off", "on"};
constexpr std::string_view addressing_names[] = {"automatic", "address", "binding"};

// Visits every field under its key: one list for writing and for reading.
struct Writer {
    std::string text;
    void key(std::string_view name) { text += (text.empty() ? "" : " ") + std::string(name) + "="; }
    void operator()(std::string_view name, const std::string& value) { key(name), text += value; }
    void operator()(std::string_view name, int32_t value) { key(name), text += std::to_string(value); }
    void operator()(std::string_view name, uint32_t value) { key(name), text += std::to_string(value); }
    void operator()(std::string_view name, uint64_t value) { key(name), text += std::to_string(value); }
    template <class Enum, size_t n>
    void choice(std::string_view name, Enum value, const std::string_view (&names)[n]) {
        key(name);
        text += names[static_cast<size_t>(value)];
    }
};

struct Reader {
    std::string_view name, value;
    bool used = false;
    bool mine(std::string_view field) {
        used = used || field == name;
        return field == name;
    }
    void operator()(std::string_view field, std::string& out) {
        if (mine(field)) out = std::string(value);
    }
    template <class Int>
    void operator()(std::string_view field, Int& out) {
        if (mine(field)) out = static_cast<Int>(std::strtoull(std::string(value).c_str(), nullptr, 10));
    }
    template <class Enum, size_t n>
    void choice(std::string_view field, Enum& out, const std::string_view (&names)[n]) {
        if (!mine(field)) return;
        for (size_t i = 0; i < n; i++) {
            if (names[i] != value) continue;
            out = static_cast<Enum>(i);
            return;
        }
        FAIL("unknown value in " << std::string(name) << "=" << std::string(value));
    }
};

template <class Visitor, class Case>
void visit(Visitor& v, Case& c) {
    v("mask", c.mask);
    v("score", c.score);
    v.choice("q", c.q_type, type_names);
    v.choice("k", c.k_type, type_names);
    v.choice("v", c.v_type, type_names);
    v.choice("o", c.o_type, type_names);
    v("d", c.head_dim);
    v("dv", c.value_dim);
    v.choice("schedule", c.schedule, schedule_names);
    v.choice("path", c.path, path_names);
    v.choice("skeleton", c.skeleton, skeleton_names);
    v.choice("widen", c.widen, widen_names);
    v.choice("encoding", c.encoding, encoding_names);
    v.choice("addressing", c.addressing, addressing_names);
    v("b", c.shape.batch);
    v("hq", c.shape.q_heads);
    v("hkv", c.shape.kv_heads);
    v("lq", c.shape.q_len);
    v("lkv", c.shape.kv_len);
    v.choice("layout", c.layout, layout_names);
    v.choice("poison", c.poison, poison_names);
    v("block_q", c.block_q);
    v("block_kv", c.block_kv);
    v("slices", c.slices);
    v("seed", c.seed);
}

}  // namespace

std::string to_text(const AttentionCase& attention_case) {
    Writer writer;
    visit(writer, attention_case);
    return writer.text;
}

AttentionCase parse_case(std::string_view text) {
    AttentionCase result;
    std::istringstream words{std::string(text)};
    for (std::string word; words >> word;) {
        const size_t equals = word.find('=');
        REQUIRE_MESSAGE(equals != std::string::npos, "a case is written key=value, not " << word);
        Reader reader;
        reader.name = std::string_view(word).substr(0, equals);
        reader.value = std::string_view(word).substr(equals + 1);
        visit(reader, result);
        REQUIRE_MESSAGE(reader.used, "a case has no field " << std::string(reader.name));
    }
    return result;
}

}  // namespace vkattn_tests
