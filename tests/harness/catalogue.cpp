#include "catalogue.h"

#include <algorithm>
#include <cmath>

#include "numbers.h"
#include "vkattn/named.h"

namespace vkattn_tests {
namespace {

using vkattn::Index;
using vkattn::param;
using vkattn::Shape;
using vkattn::table;

// Lengths may be 0, a table may not.
int32_t at_least_one(int32_t n) { return std::max(n, 1); }

MaskUse full(const Shape&, uint64_t) {
    return {vkattn::full(), {}, [](int32_t, int32_t, int32_t, int32_t) { return true; }};
}

MaskUse causal(const Shape&, uint64_t) {
    return {vkattn::causal(), {}, [](int32_t, int32_t, int32_t q, int32_t kv) { return kv <= q; }};
}

MaskUse causal_lower_right(const Shape& s, uint64_t) {
    const int32_t shift = s.kv_len - s.q_len;
    return {
        vkattn::causal_lower_right(), {}, [shift](int32_t, int32_t, int32_t q, int32_t kv) { return kv - q <= shift; }};
}

MaskUse window(const Shape& s, uint64_t seed) {
    Random random(seed);
    MaskUse use;
    const int32_t left = random.between(0, at_least_one(s.q_len / 2)),
                  right = random.between(0, at_least_one(s.kv_len / 3));
    use.mask = vkattn::window(param("left"), param("right"));
    use.bindings.scalars["left"] = left;
    use.bindings.scalars["right"] = right;
    use.keep = [left, right](int32_t, int32_t, int32_t q, int32_t kv) { return kv >= q - left && kv <= q + right; };
    return use;
}

MaskUse sliding_window(const Shape& s, uint64_t seed) {
    const int32_t w = Random(seed).between(0, at_least_one(s.kv_len / 2));
    return {
        vkattn::sliding_window(w), {}, [w](int32_t, int32_t, int32_t q, int32_t kv) { return kv <= q && q <= kv + w; }};
}

MaskUse prefix_lengths(const Shape& s, uint64_t seed) {
    Random random(seed);
    std::vector<int32_t> lengths(static_cast<size_t>(s.batch));
    for (int32_t& n : lengths) n = random.between(0, at_least_one(s.kv_len));
    MaskUse use;
    use.mask = vkattn::prefix(table("prefix_length"));
    use.bindings.tables["prefix_length"] = i32_table({s.batch}, lengths);
    use.keep = [lengths](int32_t b, int32_t, int32_t q, int32_t kv) {
        return q >= kv || kv < lengths[static_cast<size_t>(b)];
    };
    return use;
}

MaskUse padding(const Shape& s, uint64_t seed) {
    Random random(seed);
    std::vector<int32_t> lengths(static_cast<size_t>(s.batch));
    for (int32_t& n : lengths) n = random.between(0, s.kv_len);
    MaskUse use;
    use.mask = vkattn::padding(table("key_length"));
    use.bindings.tables["key_length"] = i32_table({s.batch}, lengths);
    use.keep = [lengths](int32_t b, int32_t, int32_t, int32_t kv) { return kv < lengths[static_cast<size_t>(b)]; };
    return use;
}

// Sorted ids over the longer of the two lengths, with documents of uneven size.
std::vector<int32_t> document_ids(const Shape& s, uint64_t seed) {
    Random random(seed);
    std::vector<int32_t> ids(static_cast<size_t>(at_least_one(std::max(s.q_len, s.kv_len))));
    int32_t id = 0;
    for (int32_t& at : ids) {
        if (random.below(23) == 0) id++;
        at = id;
    }
    return ids;
}

MaskUse documents_causal(const Shape& s, uint64_t seed) {
    const std::vector<int32_t> ids = document_ids(s, seed);
    MaskUse use;
    use.mask = vkattn::causal() && vkattn::document(table("doc"));
    use.bindings.tables["doc"] = i32_table({static_cast<int64_t>(ids.size())}, ids);
    use.keep = [ids](int32_t, int32_t, int32_t q, int32_t kv) {
        return ids[static_cast<size_t>(q)] == ids[static_cast<size_t>(kv)] && kv <= q;
    };
    return use;
}

// Unsorted ids that differ by batch entry: no order for an interval or a list to lean on.
MaskUse documents_shuffled(const Shape& s, uint64_t seed) {
    Random random(seed);
    const int32_t length = at_least_one(std::max(s.q_len, s.kv_len));
    std::vector<int32_t> ids(static_cast<size_t>(s.batch) * static_cast<size_t>(length));
    for (int32_t& id : ids) id = random.below(5);
    MaskUse use;
    use.mask = vkattn::document_batched(table("doc"));
    use.bindings.tables["doc"] = i32_table({s.batch, length}, ids);
    use.keep = [ids, length](int32_t b, int32_t, int32_t q, int32_t kv) {
        const int32_t* row = ids.data() + static_cast<ptrdiff_t>(b) * length;
        return row[q] == row[kv];
    };
    return use;
}

// Every index counts, none alone decides: a swapped or packed index shows in most rows.
MaskUse wrong_index(const Shape&, uint64_t) {
    return {vkattn::trace_mask(
                [](Index b, Index h, Index q, Index kv) { return (3 * h + 5 * b + 7 * q + 11 * kv) % 13 < 6; }),
            {},
            [](int32_t b, int32_t h, int32_t q, int32_t kv) { return (3 * h + 5 * b + 7 * q + 11 * kv) % 13 <= 5; }};
}

MaskUse dilated(const Shape&, uint64_t) {
    return {vkattn::dilated_window(24, 3), {}, [](int32_t, int32_t, int32_t q, int32_t kv) {
                const int32_t d = q > kv ? q - kv : kv - q;
                return d <= 24 && d % 3 == 0;
            }};
}

MaskUse natten(const Shape&, uint64_t) {
    // 9 wide, rows as the lengths allow; keys outside of the canvas of 9 x 64 are never seen by the table of lengths used here.
    constexpr int32_t w = 9, h = 64, kw = 4, kh = 3;
    const auto first = [](int32_t at, int32_t kernel, int32_t side) {
        return std::clamp(at - kernel / 2, 0, side - kernel);
    };
    return {vkattn::natten(w, h, kw, kh), {}, [first](int32_t, int32_t, int32_t q, int32_t kv) {
                const int32_t x0 = first(q % w, kw, w), y0 = first(q / w, kh, h), x = kv % w, y = kv / w;
                return x >= x0 && x < x0 + kw && y >= y0 && y < y0 + kh;
            }};
}

MaskUse global_tokens(const Shape&, uint64_t seed) {
    const int32_t n = Random(seed).between(0, 5);
    MaskUse use;
    use.mask = vkattn::global_tokens(param("n")) || vkattn::sliding_window(17);
    use.bindings.scalars["n"] = n;
    use.keep = [n](int32_t, int32_t, int32_t q, int32_t kv) { return q < n || kv < n || (kv <= q && q - kv <= 17); };
    return use;
}

// A different window for every head, by a table.
MaskUse head_windows(const Shape& s, uint64_t seed) {
    Random random(seed);
    std::vector<int32_t> widths(static_cast<size_t>(s.q_heads));
    for (int32_t& w : widths) w = random.between(0, at_least_one(s.kv_len));
    MaskUse use;
    use.mask =
        vkattn::trace_mask([](Index, Index h, Index q, Index kv) { return kv <= q && q - kv <= table("width")(h); });
    use.bindings.tables["width"] = i32_table({s.q_heads}, widths);
    use.keep = [widths](int32_t, int32_t h, int32_t q, int32_t kv) {
        return kv <= q && q - kv <= widths[static_cast<size_t>(h)];
    };
    return use;
}

// The keys from the far end: on a list read forwards the first visited tile of a row is mostly masked.
MaskUse anti_causal(const Shape&, uint64_t) {
    return {vkattn::trace_mask([](Index, Index, Index q, Index kv) { return kv >= q + 3; }),
            {},
            [](int32_t, int32_t, int32_t q, int32_t kv) { return kv - q > 2; }};
}

MaskUse nothing(const Shape&, uint64_t) {
    MaskUse use;
    use.mask = vkattn::window(param("left"), param("right"));
    use.bindings.scalars["left"] = -2;
    use.bindings.scalars["right"] = 1;
    use.keep = [](int32_t, int32_t, int32_t, int32_t) { return false; };
    return use;
}

MaskUse keep_table(const Shape& s, uint64_t seed) {
    Random random(seed);
    const int32_t columns = at_least_one(s.kv_len);
    auto data = std::make_shared<vkattn::TableData>();
    data->type = vkattn::Type::boolean;
    data->dims = {s.batch, columns};
    data->boolean.resize(static_cast<size_t>(s.batch) * static_cast<size_t>(columns));
    for (uint8_t& at : data->boolean) at = random.below(3) != 0;
    const std::vector<uint8_t> keep = data->boolean;
    MaskUse use;
    use.mask = vkattn::padding_mask(table("keep", vkattn::Type::boolean));
    use.bindings.tables["keep"] = std::move(data);
    use.keep = [keep, columns](int32_t b, int32_t, int32_t, int32_t kv) {
        return keep[static_cast<size_t>(b) * static_cast<size_t>(columns) + static_cast<size_t>(kv)] == 1;
    };
    return use;
}

ScoreUse no_change(const Shape&, uint64_t) {
    return {vkattn::ScoreMod(), {}, [](double s, int32_t, int32_t, int32_t, int32_t) { return s; }};
}

ScoreUse alibi(const Shape& shape, uint64_t) {
    std::vector<float> slopes(static_cast<size_t>(shape.q_heads));
    for (size_t h = 0; h < slopes.size(); h++) slopes[h] = 0.5f / static_cast<float>(h + 1);
    ScoreUse use;
    use.score_mod = vkattn::alibi(table("slopes"));
    use.bindings.tables["slopes"] = f32_table({shape.q_heads}, slopes);
    use.change = [slopes](double s, int32_t, int32_t h, int32_t q, int32_t kv) {
        return s + static_cast<double>(slopes[static_cast<size_t>(h)]) * (kv - q);
    };
    return use;
}

ScoreUse softcap(const Shape&, uint64_t seed) {
    const float cap = Random(seed).uniform(0.5f, 20.0f);
    return {vkattn::softcap(static_cast<double>(cap)), {}, [cap](double s, int32_t, int32_t, int32_t, int32_t) {
                return static_cast<double>(cap) * std::tanh(s / static_cast<double>(cap));
            }};
}

ScoreUse relative_bias(const Shape& shape, uint64_t seed) {
    constexpr int32_t reach = 16;
    Random random(seed);
    std::vector<float> bias(static_cast<size_t>(shape.q_heads) * (2 * reach + 1));
    for (float& at : bias) at = random.uniform(-2.0f, 2.0f);
    ScoreUse use;
    use.score_mod = vkattn::relative_bias(table("bias"), reach);
    use.bindings.tables["bias"] = f32_table({shape.q_heads, 2 * reach + 1}, bias);
    use.change = [bias](double s, int32_t, int32_t h, int32_t q, int32_t kv) {
        return s + static_cast<double>(bias[static_cast<size_t>(h * (2 * reach + 1) +
                                                                (kv - q < -reach  ? -reach
                                                                 : kv - q > reach ? reach
                                                                                  : kv - q) +
                                                                reach)]);
    };
    return use;
}

// Full size of the plane: bias[h, q, kv].
ScoreUse dense_bias(const Shape& shape, uint64_t seed) {
    Random random(seed);
    const int32_t rows = at_least_one(shape.q_len), columns = at_least_one(shape.kv_len);
    std::vector<float> bias(static_cast<size_t>(shape.q_heads) * static_cast<size_t>(rows) *
                            static_cast<size_t>(columns));
    for (float& at : bias) at = random.uniform(-3.0f, 3.0f);
    ScoreUse use;
    use.score_mod = vkattn::dense_bias(table("bias"));
    use.bindings.tables["bias"] = f32_table({shape.q_heads, rows, columns}, bias);
    use.change = [bias, rows, columns](double s, int32_t, int32_t h, int32_t q, int32_t kv) {
        return s +
               static_cast<double>(bias[(static_cast<size_t>(h) * static_cast<size_t>(rows) + static_cast<size_t>(q)) *
                                            static_cast<size_t>(columns) +
                                        static_cast<size_t>(kv)]);
    };
    return use;
}

// A bias that no two (b, h, q, kv) of a small problem share.
ScoreUse identify(const Shape&, uint64_t) {
    return {vkattn::trace_score_mod([](vkattn::Expr s, Index b, Index h, Index q, Index kv) {
                return s + to_float((17 * b + 5 * h + 29 * q + 13 * kv) % 31) * 0.125f;
            }),
            {},
            [](double s, int32_t b, int32_t h, int32_t q, int32_t kv) {
                return s + (17 * b + 5 * h + 29 * q + 13 * kv) % 31 * 0.125;
            }};
}

// torch.finfo.min on every second key and, for rows divisible by 5, on all of them: finite, so such a row attends evenly.
ScoreUse finfo_min(const Shape&, uint64_t) {
    constexpr double lowest = -3.4028234663852886e38;
    return {vkattn::trace_score_mod([](vkattn::Expr s, Index, Index, Index q, Index kv) {
                return s + select(q % 5 == 0 || kv % 2 == 1, -3.4028234663852886e38, 0.0);
            }),
            {},
            [](double s, int32_t, int32_t, int32_t q, int32_t kv) {
                // In f32, as the device adds: the score vanishes beside the bias.
                return q % 5 == 0 || kv % 2 == 1
                           ? static_cast<double>(static_cast<float>(s) + static_cast<float>(lowest))
                           : s;
            }};
}

// -inf on every key of rows divisible by 4, and on keys divisible by 3 elsewhere.
ScoreUse minus_infinity(const Shape&, uint64_t) {
    return {vkattn::trace_score_mod([](vkattn::Expr s, Index, Index, Index q, Index kv) {
                return select(q % 4 == 0 || kv % 3 == 0, -INFINITY, s);
            }),
            {},
            [](double s, int32_t, int32_t, int32_t q, int32_t kv) {
                return q % 4 == 0 || kv % 3 == 0 ? -std::numeric_limits<double>::infinity() : s;
            }};
}

// +inf at one key of rows with q % 7 == 2, NaN at one key of rows with q % 7 == 4.
ScoreUse infinity_and_nan(const Shape&, uint64_t) {
    return {vkattn::trace_score_mod([](vkattn::Expr s, Index, Index, Index q, Index kv) {
                vkattn::Expr hot = select(q % 7 == 2 && kv == 1, INFINITY, s);
                return select(q % 7 == 4 && kv == 2, NAN, hot);
            }),
            {},
            [](double s, int32_t, int32_t, int32_t q, int32_t kv) {
                if (q % 7 == 4 && kv == 2) return std::numeric_limits<double>::quiet_NaN();
                return q % 7 == 2 && kv == 1 ? std::numeric_limits<double>::infinity() : s;
            }};
}

template <class Entry>
const Entry* find(const std::vector<Entry>& entries, std::string_view name) {
    for (const Entry& entry : entries)
        if (entry.name == name) return &entry;
    return nullptr;
}

template <class Entry>
std::string names_of(const std::vector<Entry>& entries) {
    std::string names;
    for (const Entry& entry : entries) names += " " + std::string(entry.name);
    return names;
}

}  // namespace

const std::vector<MaskEntry>& mask_entries() {
    static const std::vector<MaskEntry> entries = {
        {"full", true, full},
        {"causal", true, causal},
        {"causal_lower_right", true, causal_lower_right},
        {"window", true, window},
        {"sliding_window", true, sliding_window},
        {"prefix_lengths", true, prefix_lengths},
        {"padding", true, padding},
        {"documents_causal", false, documents_causal},
        {"documents_shuffled", false, documents_shuffled},
        {"wrong_index", false, wrong_index},
        {"dilated", false, dilated},
        {"natten", false, natten},
        {"global_tokens", false, global_tokens},
        {"head_windows", false, head_windows},
        {"anti_causal", false, anti_causal},
        {"nothing", true, nothing},
        {"keep_table", false, keep_table},
    };
    return entries;
}

const std::vector<ScoreEntry>& score_entries() {
    static const std::vector<ScoreEntry> entries = {
        {"none", no_change},
        {"alibi", alibi},
        {"softcap", softcap},
        {"relative_bias", relative_bias},
        {"dense_bias", dense_bias},
        {"identify", identify},
        {"finfo_min", finfo_min},
        {"minus_infinity", minus_infinity},
        {"infinity_and_nan", infinity_and_nan},
    };
    return entries;
}

const MaskEntry* find_mask(std::string_view name) { return find(mask_entries(), name); }
const ScoreEntry* find_score(std::string_view name) { return find(score_entries(), name); }
std::string mask_names() { return names_of(mask_entries()); }
std::string score_names() { return names_of(score_entries()); }

std::shared_ptr<const vkattn::TableData> i32_table(std::vector<int64_t> dims, std::vector<int32_t> values) {
    auto data = std::make_shared<vkattn::TableData>();
    data->type = vkattn::Type::i32;
    data->dims = std::move(dims);
    data->i32 = std::move(values);
    return data;
}

std::shared_ptr<const vkattn::TableData> f32_table(std::vector<int64_t> dims, std::vector<float> values) {
    auto data = std::make_shared<vkattn::TableData>();
    data->type = vkattn::Type::f32;
    data->dims = std::move(dims);
    data->f32 = std::move(values);
    return data;
}

}  // namespace vkattn_tests
