#include "inputs.h"

#include <limits>

#include "numbers.h"
#include "vkattn/classify.h"

namespace vkattn_tests {
namespace {

using vkattn::ElementType;

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float quiet_nan = std::numeric_limits<float>::quiet_NaN();

Values random_values(Random& random, ElementType type, int32_t b, int32_t h, int32_t l, int32_t w) {
    Values values(b, h, l, w);
    for (float& x : values.at) x = rounded(type, random.uniform(-2.0f, 2.0f));
    return values;
}

// Broadcast dimensions repeat their first entry, as the strides of 0 make it.
void repeat_first(Values& values, bool over_batch, bool over_heads) {
    for (int32_t b = 0; b < values.batch; b++)
        for (int32_t h = 0; h < values.heads; h++)
            for (int32_t l = 0; l < values.length; l++) {
                const float* from = values.row(over_batch ? 0 : b, over_heads ? 0 : h, l);
                float* to = values.row(b, h, l);
                for (int32_t d = 0; d < values.width; d++) to[d] = from[d];
            }
}

void fill_row(Values& values, int32_t b, int32_t h, int32_t l, float first, float second) {
    float* row = values.row(b, h, l);
    for (int32_t d = 0; d < values.width; d++) row[d] = d % 2 == 0 ? first : second;
}

// How many queries attend to key (b, hkv, kv), over the heads of its group.
std::vector<int32_t> attended(const AttentionCase& c, const Keep& keep) {
    const vkattn::Shape& s = c.shape;
    const int32_t group = s.q_heads / s.kv_heads;
    std::vector<int32_t> counts(
        static_cast<size_t>(s.batch) * static_cast<size_t>(s.kv_heads) * static_cast<size_t>(s.kv_len), 0);
    size_t at = 0;
    for (int32_t b = 0; b < s.batch; b++)
        for (int32_t hk = 0; hk < s.kv_heads; hk++)
            for (int32_t kv = 0; kv < s.kv_len; kv++, at++)
                for (int32_t h = hk * group; h < (hk + 1) * group; h++)
                    for (int32_t q = 0; q < s.q_len; q++) counts[at] += keep(b, h, q, kv) ? 1 : 0;
    return counts;
}

void poison(const AttentionCase& c, Inputs& inputs) {
    const vkattn::Shape& s = c.shape;
    if (c.poison == Poison::none || s.q_len == 0 || s.kv_len == 0) return;
    std::vector<int32_t> counts = attended(c, inputs.keep);
    const int32_t all = s.q_heads / s.kv_heads * s.q_len;
    const auto at = [&](int32_t b, int32_t h, int32_t kv) -> int32_t& {
        return counts[(static_cast<size_t>(b) * static_cast<size_t>(s.kv_heads) + static_cast<size_t>(h)) *
                          static_cast<size_t>(s.kv_len) +
                      static_cast<size_t>(kv)];
    };
    if (c.layout == Layout::broadcast) {  // one stored row stands for many: what anybody reads, somebody reads
        for (int32_t kv = 0; kv < s.kv_len; kv++) {
            int32_t any = 0;
            for (int32_t b = 0; b < s.batch; b++)
                for (int32_t h = 0; h < s.kv_heads; h++) any = std::max(any, at(b, h, kv));
            for (int32_t b = 0; b < s.batch; b++)
                for (int32_t h = 0; h < s.kv_heads; h++) at(b, h, kv) = any;
        }
    }
    for (int32_t b = 0; b < s.batch; b++) {
        for (int32_t h = 0; h < s.kv_heads; h++) {
            int32_t partial = 0;
            for (int32_t kv = 0; kv < s.kv_len; kv++) {
                if (at(b, h, kv) == 0) {
                    fill_row(inputs.k, b, h, kv, quiet_nan, kv % 2 == 0 ? infinity : -infinity);
                    fill_row(inputs.v, b, h, kv, kv % 2 == 0 ? quiet_nan : infinity, quiet_nan);
                } else if (c.poison == Poison::partial && c.layout != Layout::broadcast && at(b, h, kv) < all &&
                           kv % 5 == 4 && partial < 3) {
                    // One NaN element of V; a whole row of infinity in V; one NaN in K.
                    if (partial == 0) inputs.v.row(b, h, kv)[c.value_dim / 2] = quiet_nan;
                    if (partial == 1) fill_row(inputs.v, b, h, kv, infinity, infinity);
                    if (partial == 2) inputs.k.row(b, h, kv)[c.head_dim / 2] = quiet_nan;
                    partial++;
                }
            }
        }
        if (c.poison == Poison::partial) inputs.q.row(b, s.q_heads - 1, s.q_len / 2)[0] = quiet_nan;
    }
}

}  // namespace

vkattn::Result<Inputs> inputs_for(const AttentionCase& c) {
    const vkattn::Shape& s = c.shape;
    const MaskEntry* mask = find_mask(c.mask);
    const ScoreEntry* score = find_score(c.score);
    if (mask == nullptr)
        return vkattn::error(vkattn::Code::invalid_argument, "mask=" + c.mask + " is none of" + mask_names());
    if (score == nullptr)
        return vkattn::error(vkattn::Code::invalid_argument, "score=" + c.score + " is none of" + score_names());
    Inputs inputs;
    Random random(c.seed);
    inputs.q = random_values(random, c.q_type, s.batch, s.q_heads, s.q_len, c.head_dim);
    inputs.k = random_values(random, c.k_type, s.batch, s.kv_heads, s.kv_len, c.head_dim);
    inputs.v = random_values(random, c.v_type, s.batch, s.kv_heads, s.kv_len, c.value_dim);
    inputs.mask = mask->make(s, c.seed + 1000);
    inputs.score = score->make(s, c.seed + 2000);
    inputs.keep = inputs.mask.keep;
    inputs.bindings = inputs.mask.bindings;
    inputs.bindings.scalars.insert(inputs.score.bindings.scalars.begin(), inputs.score.bindings.scalars.end());
    inputs.bindings.tables.insert(inputs.score.bindings.tables.begin(), inputs.score.bindings.tables.end());
    poison(c, inputs);
    if (c.layout == Layout::broadcast) {
        repeat_first(inputs.k, true, false);
        repeat_first(inputs.v, false, true);
    }
    if (c.schedule == vkattn::Schedule::list) {
        vkattn::ClassifyOptions options;
        options.block_q = c.block_q == 0 ? 128 : c.block_q;
        options.block_kv = c.block_kv == 0 ? 128 : c.block_kv;
        auto list = vkattn::create_block_mask(inputs.mask.mask, s, inputs.bindings, options);
        if (!list) return list.status();
        inputs.list = *std::move(list);
    }
    return inputs;
}

}  // namespace vkattn_tests
