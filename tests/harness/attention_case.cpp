#include "attention_case.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <span>
#include <sstream>

namespace vkattn_tests {
namespace {

using vkattn::Code;

// What an enumerator is called, by its value. Choices take them as spans: of array references gcc folds the instances for arrays of
// two and of three names into one, and then warns that the third may be read.
using Names = std::span<const std::string_view>;
constexpr std::string_view layout_names[] = {"bhld", "blhd", "packed", "broadcast", "padded", "odd"};
constexpr std::string_view poison_names[] = {"none", "unattended", "partial"};
constexpr std::string_view type_names[] = {"f32", "f16", "bf16"};
constexpr std::string_view schedule_names[] = {"automatic", "dense", "interval", "list"};
constexpr std::string_view path_names[] = {"automatic", "scalar", "khr", "nv"};
constexpr std::string_view skeleton_names[] = {"automatic", "rows", "tiles", "decode"};
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
    template <class Enum>
    void choice(std::string_view name, Enum value, Names names) {
        key(name);
        text += names[static_cast<size_t>(value)];
    }
};

// Takes the value of the field that has the name; `wrong` says what would be one.
struct Reader {
    std::string_view name, value;
    bool used = false;
    std::string wrong;

    bool mine(std::string_view field) {
        used = used || field == name;
        return field == name;
    }
    void operator()(std::string_view field, std::string& out) {
        if (mine(field)) out = std::string(value);
    }
    template <class Int>
    void operator()(std::string_view field, Int& out) {
        if (!mine(field)) return;
        // Seeds take all 64 bits, what counts elements no more than a tensor has.
        const uint64_t most = sizeof(Int) == 8 ? std::numeric_limits<uint64_t>::max() : uint64_t{1} << 28;
        uint64_t number = 0;
        const auto parsed = std::from_chars(value.data(), value.data() + value.size(), number);
        if (parsed.ec != std::errc() || parsed.ptr != value.data() + value.size() || number > most)
            wrong = "a whole number from 0 to " + std::to_string(most);
        else out = static_cast<Int>(number);
    }
    template <class Enum>
    void choice(std::string_view field, Enum& out, Names names) {
        if (!mine(field)) return;
        const auto found = std::find(names.begin(), names.end(), value);
        if (found != names.end()) {
            out = static_cast<Enum>(found - names.begin());
            return;
        }
        for (const std::string_view one : names) wrong += (wrong.empty() ? "" : ", ") + std::string(one);
    }
};

// What is named, for an error.
struct FieldLister {
    std::string text;
    template <class Value>
    void operator()(std::string_view name, const Value&) {
        text += " " + std::string(name);
    }
    template <class Enum>
    void choice(std::string_view name, const Enum&, Names) {
        text += " " + std::string(name);
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
    v("splits", c.splits);
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

vkattn::Result<AttentionCase> read_case(std::string_view text) {
    const auto wrong = [](std::string message) { return vkattn::error(Code::invalid_text, std::move(message)); };
    AttentionCase c;
    std::istringstream words{std::string(text)};
    for (std::string word; words >> word;) {
        const size_t equals = word.find('=');
        if (equals == std::string::npos) return wrong("'" + word + "' is no key=value, as in mask=causal");
        Reader reader;
        reader.name = std::string_view(word).substr(0, equals);
        reader.value = std::string_view(word).substr(equals + 1);
        visit(reader, c);
        FieldLister fields;
        visit(fields, c);
        if (!reader.used) return wrong("a case has no field '" + std::string(reader.name) + "'; it has" + fields.text);
        if (!reader.wrong.empty()) return wrong(word + ": the value should be " + reader.wrong);
    }
    if (vkattn::Status status = check(c.shape); !status.ok()) return wrong("b, hq, hkv, lq, lkv: " + status.message);
    constexpr int32_t max_dim = 576;
    if (c.head_dim < 1 || c.value_dim < 1 || c.head_dim > max_dim || c.value_dim > max_dim)
        return wrong("d and dv should be 1 to " + std::to_string(max_dim));
    if (c.slices < 1 || c.slices > 4096) return wrong("slices should be 1 to 4096");
    if ((c.block_q == 0) != (c.block_kv == 0)) return wrong("block_q and block_kv are both given or both 0");
    constexpr double most = 1 << 28;
    const double heads = double{1} * c.shape.batch * c.shape.q_heads;
    const double columns = std::max({c.shape.kv_len, c.head_dim, c.value_dim});
    const double rows = double{1} * c.shape.q_len + c.shape.kv_len;
    if (heads * rows * columns > most)
        return wrong("this is too much for one case; 2^28 elements a tensor, table and plane are the most");
    return c;
}

}  // namespace vkattn_tests
