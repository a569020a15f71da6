#include "bench_case.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <numbers>

#include "../cli/command.h"

namespace vkattn::bench {
namespace {

constexpr std::string_view documents_text = "causal() && document(doc)";

BenchCase square(std::string group, std::string label, std::string mask, int32_t length) {
    BenchCase c;
    c.group = std::move(group);
    c.label = std::move(label);
    c.mask = std::move(mask);
    c.shape = {1, 8, 8, length, length};
    return c;
}

// One new query against keys that are there already.
BenchCase decode(int32_t q_heads, int32_t kv_heads, int32_t keys) {
    BenchCase c;
    c.group = "decode";
    c.label = "decode, GQA " + std::to_string(q_heads / kv_heads);
    c.shape = {1, q_heads, kv_heads, 1, keys};
    c.head_dim = 128;
    c.type = ElementType::f16;
    return c;
}

struct NamedMask {
    const char* label;
    std::string mask;
};
// `w + 1` keys: 512 of them.
const std::array<NamedMask, 4> length_masks = {{{"full", "true"},
                                                {"causal", "causal()"},
                                                {"window 512", "sliding_window(511)"},
                                                {"documents", std::string(documents_text)}}};

// Peers take seconds to start: some cases at one length, and not all masks in the suite that is to be quick.
void add_lengths(std::vector<BenchCase>& cases, int32_t first, int32_t last, int32_t with_peers, bool every_mask) {
    for (const NamedMask& named : length_masks)
        for (int32_t length = first; length <= last; length *= 2) {
            cases.push_back(square("length", named.label, named.mask, length));
            const bool is_end = named.mask == length_masks.front().mask || named.mask == length_masks.back().mask;
            cases.back().peers = length == with_peers && (every_mask || is_end);
        }
}

void add_head_dims(std::vector<BenchCase>& cases, const char* label, const char* mask, int32_t length, bool peers) {
    for (const int32_t d : {64, 128, 256, 512}) {
        cases.push_back(square("head dim", label, mask, length));
        cases.back().head_dim = d;
        cases.back().peers = peers && d == 128;
    }
}

void add_types(std::vector<BenchCase>& cases, int32_t length, int32_t head_dim) {
    for (const ElementType type : {ElementType::f32, ElementType::f16, ElementType::bf16}) {
        cases.push_back(square("type", "full", "true", length));
        cases.back().type = type;
        cases.back().head_dim = head_dim;
        cases.back().peers = type == ElementType::f16;
    }
}

struct NamedMods {
    const char* label;
    std::string mask, score;
};

// `length` is a power of four: NATTEN's canvas is square.
std::vector<NamedMods> mods_at(int32_t length) {
    const auto side = std::to_string(static_cast<int32_t>(std::lround(std::sqrt(length))));
    return {{.label = "prefix LM", .mask = "prefix(" + std::to_string(length / 4) + ")", .score = "score"},
            {.label = "NATTEN 13x13", .mask = "natten(" + side + ", " + side + ", 13, 13)", .score = "score"},
            {.label = "causal, ALiBi", .mask = "causal()", .score = "alibi()"},
            {.label = "causal, soft-cap", .mask = "causal()", .score = "softcap(30)"}};
}

void add_mods(std::vector<BenchCase>& cases, int32_t last) {
    for (int32_t length = 1024; length <= last; length *= 4)
        for (const NamedMods& named : mods_at(length)) {
            cases.push_back(square("length", named.label, named.mask, length));
            cases.back().score = named.score;
        }
}

// What GPUs are judged by: matrix paths, and torch's flash and cuDNN back ends, take 16-bit tensors only. Peers stand where the aims
// are, at 1k and at 16k.
void add_16_bit(std::vector<BenchCase>& cases) {
    const auto add = [&](const NamedMods& named, int32_t length, ElementType type) {
        cases.push_back(square("16-bit", named.label, named.mask, length));
        cases.back().score = named.score;
        cases.back().head_dim = 128;
        cases.back().type = type;
        cases.back().peers = length == 1024 || length == 16384;
    };
    const NamedMods full{.label = "full", .mask = "true", .score = "score"},
        causal{.label = "causal", .mask = "causal()", .score = "score"},
        documents{.label = "documents", .mask = std::string(documents_text), .score = "score"};
    for (const int32_t length : {1024, 4096, 16384}) {
        for (const ElementType type : {ElementType::f16, ElementType::bf16})
            for (const NamedMods& named : {full, causal}) add(named, length, type);
        add(documents, length, ElementType::f16);
        for (const NamedMods& named : mods_at(length)) add(named, length, ElementType::f16);
    }
    for (const int32_t length : {1024, 4096, 8192, 16384})
        add({.label = "window 512", .mask = "sliding_window(511)", .score = "score"}, length, ElementType::f16);
    for (const int32_t length : {16384, 32768})
        add({.label = "window 1024", .mask = "sliding_window(1023)", .score = "score"}, length, ElementType::f16);
}

// Whole blocks, the same number in every row: time against the blocks that are there, and nothing else.
void add_blocks(std::vector<BenchCase>& cases, int32_t first, int32_t last) {
    for (const int32_t eighths : {1, 4, 8})
        for (int32_t length = first; length <= last; length *= 2)
            cases.push_back(square("blocks", std::to_string(eighths) + " of 8 blocks",
                                   "(q / 128 + kv / 128 * 3) % 8 < " + std::to_string(eighths), length));
}

// A mask that one interval a row describes and that excludes nothing; then with every pair tested all the same.
void add_tested(std::vector<BenchCase>& cases, int32_t length) {
    const std::string window = "window(" + std::to_string(length) + ", " + std::to_string(length) + ")";
    cases.push_back(square("mask", "window of everything", window, length));
    cases.push_back(square("mask", "window of everything, all pairs tested", window, length));
    cases.back().kernel.schedule = Schedule::dense;
}

std::vector<BenchCase> quick() {
    std::vector<BenchCase> cases;
    add_lengths(cases, 512, 2048, 1024, false);
    cases.push_back(square("length", "window 512", "sliding_window(511)", 8192));
    add_blocks(cases, 1024, 2048);
    add_head_dims(cases, "full", "true", 512, false);
    add_types(cases, 1024, 64);
    add_mods(cases, 4096);
    add_tested(cases, 1024);
    for (const int32_t keys : {2048, 16384}) cases.push_back(decode(32, 8, keys));
    cases.push_back(decode(8, 8, 2048));
    cases.push_back(decode(8, 1, 2048));
    return cases;
}

std::vector<BenchCase> everything() {
    std::vector<BenchCase> cases;
    add_lengths(cases, 512, 32768, 1024, true);
    cases.push_back(square("length", "window 1024", "sliding_window(1023)", 32768));
    add_mods(cases, 16384);
    add_16_bit(cases);
    add_blocks(cases, 1024, 8192);
    add_head_dims(cases, "full", "true", 1024, true);
    add_head_dims(cases, "causal", "causal()", 4096, false);
    add_types(cases, 1024, 64);
    add_types(cases, 1024, 128);
    add_tested(cases, 4096);
    for (int32_t keys = 2048; keys <= 131072; keys *= 2) {
        cases.push_back(decode(8, 8, keys));
        cases.push_back(decode(32, 8, keys));
        cases.back().peers = keys == 16384;
        cases.push_back(decode(64, 8, keys));
    }
    return cases;
}

}  // namespace

std::string size_text(const BenchCase& c) {
    const Shape& s = c.shape;
    std::string text;
    for (const int32_t n : {s.batch, s.q_heads, s.kv_heads, s.q_len, s.kv_len}) text += std::to_string(n) + "x";
    return text + std::to_string(c.head_dim);
}

std::string name_of(const BenchCase& c) { return c.label + " " + size_text(c) + " " + std::string(to_string(c.type)); }

Status parse_size(std::string_view text, BenchCase& c) {
    const auto bad = [&](const std::string& why) {
        return error(Code::invalid_argument, "'" + std::string(text) + "': " + why);
    };
    const auto parts = cli::split(text, 'x');
    if (parts.size() != 4 && parts.size() != 6)
        return bad("BxHqxHkvxLqxLkvxD or BxHxLxD is wanted, as in 1x32x8x1024x1024x128");
    std::vector<int32_t> n;
    for (const std::string_view part : parts) {
        auto value = cli::parse_integer(part, 1, std::numeric_limits<int32_t>::max());
        if (!value) return bad(value.status().message);
        n.push_back(static_cast<int32_t>(*value));
    }
    c.shape = n.size() == 4 ? Shape{n[0], n[1], n[1], n[2], n[2]} : Shape{n[0], n[1], n[2], n[3], n[4]};
    c.head_dim = n.back();
    if (Status status = check(c.shape); !status.ok()) return bad(status.message);
    if (c.head_dim > 576) return bad("D is at most 576");
    constexpr double max_elements = 0x1p32;
    const Shape& s = c.shape;
    if (double{1} * s.batch * s.q_heads * s.q_len * c.head_dim > max_elements ||
        double{1} * s.batch * s.kv_heads * s.kv_len * c.head_dim > max_elements)
        return bad("a tensor would have more than 2^32 elements");
    return {};
}

std::vector<BenchCase> suite(std::string_view name) { return name == "full" ? everything() : quick(); }

std::vector<int32_t> lognormal_documents(int32_t length) {
    constexpr double median = 512.0, sigma = 1.1, shortest = 16.0, longest = 16384.0;
    uint32_t state = 0x2545f491u;
    const auto uniform = [&state] {  // xorshift, inside (0, 1)
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        return (static_cast<double>(state >> 8) + 0.5) * 0x1p-24;
    };
    std::vector<int32_t> ids;
    ids.reserve(static_cast<size_t>(length));
    for (int32_t document = 0; ids.size() < static_cast<size_t>(length); document++) {
        const double radius = std::sqrt(-2.0 * std::log(uniform()));
        const double normal = radius * std::cos(2.0 * std::numbers::pi * uniform());
        const double tokens = std::clamp(median * std::exp(sigma * normal), shortest, longest);
        const size_t end = std::min(ids.size() + static_cast<size_t>(tokens), static_cast<size_t>(length));
        ids.resize(end, document);
    }
    return ids;
}

Result<Described> describe(const BenchCase& c) {
    Declarations declarations;
    declarations.closed = true;
    declarations.tables.push_back({"doc", Type::i32, 1});
    Described described;
    auto mask = parse_mask(c.mask, declarations);
    if (!mask) return cli::about("--mask", mask.status());
    auto score_mod = parse_score_mod(c.score, declarations);
    if (!score_mod) return cli::about("--score", score_mod.status());
    described.mask = std::move(*mask);
    described.score_mod = std::move(*score_mod);
    if (!described.mask.tree().tables.empty() || !described.score_mod.tree().tables.empty()) {
        TableData doc;
        doc.type = Type::i32;
        doc.i32 = lognormal_documents(std::max(c.shape.q_len, c.shape.kv_len));
        doc.dims = {static_cast<int64_t>(doc.i32.size())};
        described.bindings.tables["doc"] = std::make_shared<TableData>(std::move(doc));
    }
    return described;
}

}  // namespace vkattn::bench
