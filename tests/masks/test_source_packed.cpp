// FlashAttention's windows and varlen, xformers' biases, FlashInfer's bit masks: dense masks written cell by cell from
// their definitions, block after block, as the originals' reference code fills them.
#include "masks/brute_force.h"
#include "masks/random_tree.h"
#include "vkattn/named.h"
#include "vkattn/sources/flash_attention.h"
#include "vkattn/sources/flashinfer.h"
#include "vkattn/sources/xformers.h"

using namespace vkattn;
using namespace vkattn::test;

namespace {

const std::vector<std::pair<int, int>> lengths = {{11, 17}, {17, 11}, {12, 12}, {1, 9}, {9, 1}, {0, 5}, {5, 0}};

std::string number(int value) { return std::to_string(value); }

// [rows][columns]
struct Dense {
    Dense(int q_len, int kv_len)
        : columns(kv_len), keep(static_cast<size_t>(q_len) * static_cast<size_t>(kv_len), false) {}
    auto at(int q, int kv) { return keep[static_cast<size_t>(q * columns + kv)]; }
    MaskRule rule() const {
        return [dense = *this](int, int, int q, int kv) {
            const size_t i = static_cast<size_t>(q) * static_cast<size_t>(dense.columns) + static_cast<size_t>(kv);
            return kv < dense.columns && i < dense.keep.size() && dense.keep[i];
        };
    }
    int columns;
    std::vector<bool> keep;
};

std::vector<int32_t> offsets_of(const std::vector<int32_t>& sizes) {
    std::vector<int32_t> offsets = {0};
    for (const int32_t size : sizes) offsets.push_back(offsets.back() + size);
    return offsets;
}
int total(const std::vector<int32_t>& sizes) { return offsets_of(sizes).back(); }

using BlockRule = std::function<bool(int i, int j, int n_queries, int n_keys)>;  // inside one block

Dense block_diagonal_of(const std::vector<int32_t>& q_sizes, const std::vector<int32_t>& kv_starts,
                        const std::vector<int32_t>& kv_sizes, int kv_len, const BlockRule& rule) {
    Dense dense(total(q_sizes), kv_len);
    int q = 0;
    for (size_t s = 0; s < q_sizes.size(); ++s) {
        for (int i = 0; i < q_sizes[s]; ++i, ++q) {
            for (int j = 0; j < kv_sizes[s]; ++j) dense.at(q, kv_starts[s] + j) = rule(i, j, q_sizes[s], kv_sizes[s]);
        }
    }
    return dense;
}

// tril(diagonal) and triu(diagonal) of torch: j - i <= diagonal, j - i >= diagonal.
bool tril(int i, int j, int diagonal) { return j - i <= diagonal; }
bool triu(int i, int j, int diagonal) { return j - i >= diagonal; }

const std::string in_block = "cross_attention_intervals(seq_begin, seq_end)";
std::string to_left(int n) { return " && q + seq_diagonal[q] - kv <= " + number(n); }
std::string to_right(int n) { return " && kv - (q + seq_diagonal[q]) <= " + number(n); }

struct Packing {
    std::vector<int32_t> q, kv;
};
const std::vector<Packing> packings = {{{3, 6, 2}, {3, 6, 2}},
                                       {{4, 1, 5}, {7, 3, 5}},
                                       {{5, 2}, {2, 6}},
                                       {{0, 4, 0, 3}, {3, 0, 2, 9}},
                                       {{}, {}},
                                       {{7}, {9}}};

}  // namespace

TEST_CASE("FlashAttention windows: lower right, inclusive, -1 without limit") {
    for (const auto& [q_len, kv_len] : lengths) {
        for (const int left : {-1, 0, 1, 4, 100}) {
            for (const int right : {-1, 0, 2, 100}) {
                const int shift = kv_len - q_len;
                const std::string text = left < 0 && right < 0 ? "true"
                                         : left < 0            ? "lower_right(causal(" + number(right) + "))"
                                         : right < 0
                                             ? "lower_right(q - kv <= " + number(left) + ")"
                                             : "lower_right(window(" + number(left) + ", " + number(right) + "))";
                check_mask(text, flash_attention::window(left, right), {1, 1, 1, q_len, kv_len},
                           [=](int, int, int q, int kv) {
                               if (left >= 0 && kv < q + shift - left) return false;
                               return right < 0 || kv <= q + shift + right;
                           });
            }
        }
        check_mask("causal_lower_right()", flash_attention::causal(), {1, 1, 1, q_len, kv_len},
                   [shift = kv_len - q_len](int, int, int q, int kv) { return kv <= q + shift; });
    }
    CHECK(refused(flash_attention::window(-2, 0), "(-2, 0)"));
}

TEST_CASE("FlashAttention varlen: every sequence is aligned lower right by itself") {
    for (const Packing& packing : packings) {
        const auto cu_q = offsets_of(packing.q), cu_k = offsets_of(packing.kv);
        std::vector<int32_t> starts(cu_k.begin(), cu_k.end() - 1);
        for (const int left : {-1, 0, 3}) {
            for (const int right : {-1, 0, 2}) {
                const Dense dense = block_diagonal_of(
                    packing.q, starts, packing.kv, cu_k.back(), [=](int i, int j, int n_queries, int n_keys) {
                        const int place = i + n_keys - n_queries;
                        return (left < 0 || j >= place - left) && (right < 0 || j <= place + right);
                    });
                const std::string text =
                    in_block + (left < 0 ? "" : to_left(left)) + (right < 0 ? "" : to_right(right));
                const Mask mask = flash_attention::varlen(cu_q, cu_k, left, right);
                check_mask(text, mask, {1, 1, 1, cu_q.back(), cu_k.back()}, dense.rule());
                // Padding behind the last sequence attends to nothing.
                check_mask(text, mask, {1, 1, 1, cu_q.back() + 4, cu_k.back() + 3}, dense.rule());
            }
        }
    }
    const std::vector<int32_t> good = {0, 3, 5}, falling = {0, 3, 2}, late = {1, 3, 5}, more = {0, 1, 2, 5}, none;
    CHECK(refused(flash_attention::varlen(falling, good), "cu_seqlens_q: offset 2 is 2"));
    CHECK(refused(flash_attention::varlen(good, late), "cu_seqlens_k must start with 0"));
    CHECK(refused(flash_attention::varlen(none, good), "cu_seqlens_q must start with 0"));
    CHECK(refused(flash_attention::varlen(good, more), "2 sequences of queries and 3 of keys"));
    CHECK(refused(flash_attention::varlen(good, good, -2, 0), "window is (-2, 0)"));
}

TEST_CASE("xformers: triangular and local biases") {
    for (const auto& [q_len, kv_len] : lengths) {
        const Shape shape{1, 1, 1, q_len, kv_len};
        const int shift = kv_len - q_len;
        check_mask("causal()", xformers::lower_triangular(), shape,
                   [](int, int, int i, int j) { return tril(i, j, 0); });
        check_mask("causal_lower_right()", xformers::lower_triangular_from_bottom_right(), shape,
                   [=](int, int, int i, int j) { return tril(i, j, shift); });
        for (const int w : {1, 2, 5}) {
            check_mask("lower_right(last_n_keys(" + number(w) + "))",
                       xformers::lower_triangular_from_bottom_right_local_attention(w), shape,
                       [=](int, int, int i, int j) { return tril(i, j, shift) && triu(i, j, shift - w + 1); });
            check_mask("lower_right(window(" + number(w) + ", 2))", xformers::local_attention_from_bottom_right(w, 2),
                       shape, [=](int, int, int i, int j) { return triu(i, j, shift - w) && tril(i, j, shift + 2); });
        }
    }
    CHECK(refused(xformers::lower_triangular_from_bottom_right_local_attention(0), "window_size is 0"));
    CHECK(refused(xformers::local_attention_from_bottom_right(-1, 0), "(-1, 0)"));
}

TEST_CASE("xformers: the block-diagonal family, keys packed, padded and gappy") {
    for (const Packing& packing : packings) {
        std::vector<int32_t> packed(packing.kv.size()), padded(packing.kv.size()), gappy(packing.kv.size() + 1);
        int place = 0;
        for (size_t i = 0; i < packing.kv.size(); ++i) {
            packed[i] = i == 0 ? 0 : packed[i - 1] + packing.kv[i - 1];
            padded[i] = static_cast<int32_t>(i) * 10;
            gappy[i] = place;
            place += packing.kv[i] + static_cast<int>(i % 3);
        }
        gappy.back() = place;
        const struct {
            std::vector<int32_t> starts;
            xformers::Keys keys;
            int kv_len;
        } layouts[] = {{packed, xformers::packed_keys(packing.kv), total(packing.kv)},
                       {padded, xformers::padded_keys(packing.kv, 10), static_cast<int>(packing.kv.size()) * 10},
                       {gappy, xformers::gappy_keys(gappy, packing.kv), place}};
        for (const auto& [starts, keys, kv_len] : layouts) {
            const Shape shape{1, 1, 1, total(packing.q), kv_len};
            const auto check_one = [&, n = kv_len, &at = starts](const std::string& text, const Mask& mask,
                                                                 const BlockRule& rule) {
                check_mask(text, mask, shape, block_diagonal_of(packing.q, at, packing.kv, n, rule).rule());
            };
            check_one(in_block, xformers::block_diagonal(packing.q, keys), [](int, int, int, int) { return true; });
            check_one(in_block + to_right(0), xformers::block_diagonal_causal(packing.q, keys),
                      [](int i, int j, int, int) { return tril(i, j, 0); });
            check_one(in_block + to_right(0), xformers::block_diagonal_causal_from_bottom_right(packing.q, keys),
                      [](int i, int j, int m, int n) { return tril(i, j, n - m); });
            for (const int w : {1, 3}) {
                check_one(in_block + to_left(w - 1) + to_right(0),
                          xformers::block_diagonal_causal_local_attention(packing.q, keys, w),
                          [=](int i, int j, int, int) { return tril(i, j, 0) && triu(i, j, -w + 1); });
                check_one(in_block + to_left(w - 1) + to_right(0),
                          xformers::block_diagonal_causal_local_attention_from_bottom_right(packing.q, keys, w),
                          [=](int i, int j, int m, int n) { return tril(i, j, n - m) && triu(i, j, n - m - w + 1); });
                check_one(in_block + to_left(w) + to_right(1),
                          xformers::block_diagonal_local_attention(packing.q, keys, w, 1),
                          [=](int i, int j, int m, int n) { return triu(i, j, n - m - w) && tril(i, j, n - m + 1); });
            }
        }
    }
    using Sizes = std::vector<int32_t>;
    CHECK(refused(xformers::block_diagonal(Sizes{3, -1}, xformers::packed_keys(Sizes{3, 1})), "length 1 is -1"));
    CHECK(refused(xformers::block_diagonal(Sizes{3}, xformers::packed_keys(Sizes{-3})), "keys of block 0"));
    CHECK(refused(xformers::block_diagonal(Sizes{3, 1}, xformers::packed_keys(Sizes{3})), "2 sequences of queries"));
    CHECK(refused(xformers::block_diagonal(Sizes{3, 1}, xformers::padded_keys(Sizes{3, 5}, 4)), "keys of block 1"));
    CHECK(
        refused(xformers::block_diagonal(Sizes{3}, xformers::gappy_keys(Sizes{0, 4, 9}, Sizes{3})), "3 starts and 1"));
    CHECK(refused(xformers::block_diagonal(Sizes{INT32_MAX, 2}, xformers::packed_keys(Sizes{3, 5})), "below 2^31"));
    CHECK(refused(xformers::block_diagonal(Sizes{1, 1, 1}, xformers::packed_keys(Sizes{INT32_MAX, INT32_MAX, 1})),
                  "keys of block 1"));
    CHECK(refused(xformers::block_diagonal_causal_local_attention(Sizes{3}, xformers::packed_keys(Sizes{3}), 0),
                  "window_size is 0"));
}

TEST_CASE("FlashInfer: bits of each request's own matrix") {
    for (uint64_t seed = 1; seed <= 20; ++seed) {
        Rng rng(seed);
        std::vector<int32_t> q_sizes, kv_sizes;
        for (int i = rng.between(1, 4); i > 0; --i) {
            q_sizes.push_back(rng.between(0, 7));
            kv_sizes.push_back(rng.between(0, 13));
        }
        const auto qo_indptr = offsets_of(q_sizes), kv_indptr = offsets_of(kv_sizes);
        Dense dense(qo_indptr.back(), kv_indptr.back());
        std::vector<uint8_t> packed;
        const int density = rng.chance(30) ? 97 : 50;
        for (size_t i = 0; i < q_sizes.size(); ++i) {
            int n_bits = 0;
            for (int row = 0; row < q_sizes[i]; ++row) {
                for (int column = 0; column < kv_sizes[i]; ++column, ++n_bits) {
                    if (n_bits % 8 == 0) packed.push_back(0);
                    const bool bit = rng.chance(density);
                    if (bit) packed.back() = static_cast<uint8_t>(packed.back() + (1 << n_bits % 8));
                    dense.at(qo_indptr[i] + row, kv_indptr[i] + column) = bit;
                }
            }
        }
        const std::string text = "cross_attention_intervals(custom_begin, custom_end) && "
                                 "(custom_words[(custom_row[q] + kv) / 32] >> (custom_row[q] + kv) % 32 & 1) == 1";
        const Mask mask = flashinfer::packed_custom_mask(packed, qo_indptr, kv_indptr);
        check_mask(text, mask, {1, 1, 1, qo_indptr.back(), kv_indptr.back()}, dense.rule());
        check_mask(text, mask, {1, 1, 1, qo_indptr.back() + 3, kv_indptr.back() + 2}, dense.rule());
        if (packed.empty()) continue;
        packed.pop_back();
        CHECK(refused(flashinfer::packed_custom_mask(packed, qo_indptr, kv_indptr), "ends at byte"));
    }
    const std::vector<int32_t> one = {0, 3}, two = {0, 1, 3}, falling = {0, -1};
    const std::vector<uint8_t> bytes(4, 0xff);
    CHECK(refused(flashinfer::packed_custom_mask(bytes, one, two), "1 requests in qo_indptr and 2 in kv_indptr"));
    CHECK(refused(flashinfer::packed_custom_mask(bytes, one, falling), "kv_indptr: offset 1 is -1"));
    CHECK(refused(flashinfer::packed_custom_mask(bytes, {}, one), "qo_indptr must start with 0"));
}
