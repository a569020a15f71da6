#include "case_table.h"

#include <array>

#include "harness/catalogue.h"
#include "harness/pairwise.h"

namespace vkattn_tests {
namespace {

enum Level { in_quick, in_standard };
enum Bits { once, same_bits };

struct Line {
    Level level;
    const char* name;
    const char* text;
    Bits bits = once;
};

// Lengths lie beside multiples of 64 and 128; unequal sizes on every pair of axes, so that swapped ones show.
constexpr Line lines[] = {
    {in_quick, "one pair", "d=1 dv=1 lq=1 lkv=1"},
    {in_quick, "causal, GQA", "mask=causal b=2 hq=4 hkv=2 lq=65 lkv=129"},
    {in_quick, "causal f16, D 128, NaN in rows that some attend to",
     "mask=causal q=f16 k=f16 v=f16 o=f16 d=128 dv=128 hq=2 lq=130 lkv=130 poison=partial"},
    {in_quick, "window, f16, same bits",
     "mask=window score=alibi q=f16 k=f16 v=f16 o=f16 d=64 dv=64 b=2 hq=3 hkv=1 lq=140 lkv=150 schedule=interval",
     same_bits},
    {in_quick, "document lists, mixed types, same bits",
     "mask=documents_causal score=alibi k=f16 v=bf16 d=40 dv=48 b=2 hq=3 hkv=1 lq=140 lkv=150 schedule=list",
     same_bits},
    {in_quick, "document lists, bf16, soft-cap, NaN in rows that some attend to",
     "mask=documents_causal score=softcap q=bf16 k=bf16 v=bf16 o=bf16 d=32 dv=32 hq=2 hkv=2 lq=130 lkv=200 "
     "schedule=list block_q=64 block_kv=32 poison=partial"},
    {in_quick, "a mask of all indices, odd rows",
     "mask=wrong_index score=identify d=15 dv=15 b=2 hq=6 hkv=2 lq=5 lkv=131 layout=odd"},
    {in_quick, "one query, 8 heads a key head",
     "mask=causal_lower_right q=f16 k=f16 v=f16 o=f16 d=64 dv=64 hq=8 hkv=1 lq=1 lkv=257"},
    {in_quick, "q, k and v in one buffer",
     "mask=causal score=relative_bias q=f16 k=f16 v=f16 o=f16 d=32 dv=32 b=2 hq=4 hkv=2 lq=63 lkv=65 layout=packed "
     "slices=3"},
    {in_quick, "no keys", "d=16 dv=16 lq=5 lkv=0 hq=2"},
    {in_quick, "no queries", "d=16 dv=16 lq=0 lkv=5"},
    {in_quick, "nobody attends", "mask=nothing d=16 dv=16 hq=2 lq=70 lkv=66 schedule=interval"},
    {in_quick, "scores of -inf", "mask=causal score=minus_infinity d=16 dv=16 hq=2 lq=67 lkv=71"},
    {in_quick, "scores of +inf and NaN", "score=infinity_and_nan d=16 dv=16 hq=2 lq=67 lkv=71"},

    {in_standard, "scores of torch.finfo.min", "score=finfo_min d=16 dv=16 hq=2 lq=67 lkv=71"},
    {in_standard, "first tiles all masked", "mask=anti_causal d=32 dv=32 hq=2 lq=200 lkv=200 poison=partial"},
    {in_standard, "first tiles all masked, by lists",
     "mask=anti_causal d=32 dv=32 hq=2 lq=200 lkv=200 schedule=list block_q=64 block_kv=64"},
    {in_standard, "full, f16, D 64", "q=f16 k=f16 v=f16 o=f16 b=2 hq=2 hkv=1 lq=127 lkv=129"},
    {in_standard, "full, bf16, D 128", "q=bf16 k=bf16 v=bf16 o=bf16 d=128 dv=128 hq=2 hkv=1 lq=127 lkv=129"},
    {in_standard, "causal, lower right", "mask=causal_lower_right d=64 dv=64 hq=2 lq=65 lkv=127 schedule=interval"},
    {in_standard, "sliding window, f16",
     "mask=sliding_window q=f16 k=f16 v=f16 o=f16 d=80 dv=80 hq=2 lq=200 lkv=200 schedule=interval"},
    {in_standard, "prefix lengths",
     "mask=prefix_lengths score=softcap d=40 dv=40 b=3 hq=2 lq=66 lkv=130 schedule=interval"},
    {in_standard, "padding, f16 keys",
     "mask=padding k=f16 v=f16 d=64 dv=64 b=3 hq=2 lq=66 lkv=130 schedule=interval layout=blhd"},
    {in_standard, "padding by a table", "mask=keep_table d=24 dv=24 b=3 hq=2 lq=66 lkv=130"},
    {in_standard, "shuffled documents, bf16",
     "mask=documents_shuffled q=bf16 k=bf16 v=bf16 o=bf16 d=72 dv=72 b=2 hq=2 lq=130 lkv=130"},
    {in_standard, "shuffled documents by lists",
     "mask=documents_shuffled d=64 dv=64 b=2 hq=2 lq=130 lkv=130 schedule=list block_q=64 block_kv=64"},
    {in_standard, "dilated window", "mask=dilated score=dense_bias d=40 dv=40 hq=2 lq=130 lkv=66"},
    {in_standard, "NATTEN",
     "mask=natten q=f16 k=f16 v=f16 d=64 dv=64 hq=2 lq=130 lkv=257 schedule=list block_q=64 block_kv=128"},
    {in_standard, "global tokens", "mask=global_tokens d=64 dv=64 hq=3 hkv=3 lq=65 lkv=127 layout=padded"},
    {in_standard, "a window of its own for each head",
     "mask=head_windows k=f16 v=bf16 d=64 dv=64 b=2 hq=6 hkv=2 lq=65 lkv=200 schedule=list poison=partial"},
    {in_standard, "ALiBi, keys shared by batch, values by heads",
     "mask=causal score=alibi d=64 dv=64 b=2 hq=4 hkv=2 lq=65 lkv=127 layout=broadcast"},
    {in_standard, "mixed types, odd rows",
     "mask=causal q=f16 k=bf16 v=f32 o=bf16 d=96 dv=40 hq=2 lq=65 lkv=127 layout=odd"},
    {in_standard, "f32 q, f16 keys and o, seven slices",
     "mask=window k=f16 v=f16 o=f16 d=128 dv=128 hq=2 hkv=1 lq=200 lkv=200 slices=7"},
    {in_standard, "D 8", "mask=causal d=8 dv=8 hq=2 lq=128 lkv=130"},
    {in_standard, "D 192, Dv 128, f16", "mask=causal q=f16 k=f16 v=f16 o=f16 d=192 dv=128 hq=2 hkv=1 lq=65 lkv=129"},
    {in_standard, "D 256, f16, same bits", "mask=causal q=f16 k=f16 v=f16 o=f16 d=256 dv=256 hq=2 hkv=1 lq=65 lkv=129",
     same_bits},
    {in_standard, "D 576, Dv 512, bf16: a latent",
     "mask=causal q=bf16 k=bf16 v=bf16 o=bf16 d=576 dv=512 hq=4 hkv=1 lq=33 lkv=66"},
    {in_standard, "one query, 6 heads on 2, a mask of all indices, same bits",
     "mask=wrong_index k=f16 v=f16 d=128 dv=128 b=2 hq=6 hkv=2 lq=1 lkv=300", same_bits},
    {in_standard, "3 queries, 32 heads on 2",
     "mask=causal_lower_right score=alibi q=f16 k=f16 v=f16 o=f16 d=64 dv=64 b=2 hq=32 hkv=2 lq=3 lkv=131"},
    {in_standard, "one query by lists",
     "mask=head_windows q=f16 k=f16 v=f16 o=f16 d=64 dv=64 hq=8 hkv=2 lq=1 lkv=520 schedule=list"},
    {in_standard, "1000 keys, f16", "mask=sliding_window q=f16 k=f16 v=f16 o=f16 d=64 dv=64 hq=1 lq=257 lkv=1000"},
};

using vkattn::ElementType;
constexpr ElementType f32 = ElementType::f32, f16 = ElementType::f16, bf16 = ElementType::bf16;
constexpr ElementType types[][4] = {{f32, f32, f32, f32},  {f16, f16, f16, f16},   {bf16, bf16, bf16, bf16},
                                    {f32, f16, bf16, f16}, {f16, bf16, f32, bf16}, {bf16, f32, f16, f32}};
constexpr int32_t dims[][2] = {{1, 1},   {8, 8},     {15, 15},   {40, 40},   {64, 64},  {80, 80},
                               {96, 96}, {128, 128}, {192, 128}, {256, 256}, {576, 512}};
constexpr vkattn::Schedule schedules[] = {vkattn::Schedule::dense, vkattn::Schedule::interval, vkattn::Schedule::list};
constexpr Layout layouts[] = {Layout::bhld,      Layout::blhd,   Layout::packed,
                              Layout::broadcast, Layout::padded, Layout::odd};
constexpr int32_t heads[][3] = {{1, 1, 1}, {2, 2, 1}, {1, 6, 2}, {2, 3, 3}, {1, 8, 1}};
constexpr int32_t lengths[][2] = {{1, 1},     {63, 65}, {64, 64}, {65, 127}, {127, 129},
                                  {128, 130}, {5, 131}, {1, 257}, {130, 66}};
constexpr int32_t blocks[][2] = {{128, 128}, {64, 64}, {128, 64}, {64, 256}};
constexpr Poison poisons[] = {Poison::unattended, Poison::partial};

template <class T, size_t n>
int32_t count(const T (&)[n]) {
    return static_cast<int32_t>(n);
}

void add_pairwise(std::vector<TestedCase>& cases) {
    enum Axis : size_t { mask, score, type, dim, schedule, layout, head, length, block, poison };
    const auto& masks = mask_entries();
    const auto& scores = score_entries();
    PairwiseOptions options;
    options.allowed = [&](size_t i, int32_t x, size_t j, int32_t y) {
        return !(i == mask && j == schedule && schedules[y] == vkattn::Schedule::interval &&
                 !masks[static_cast<size_t>(x)].interval);
    };
    const auto rows = pairwise_table({static_cast<int32_t>(masks.size()), static_cast<int32_t>(scores.size()),
                                      count(types), count(dims), count(schedules), count(layouts), count(heads),
                                      count(lengths), count(blocks), count(poisons)},
                                     options);
    for (const std::vector<int32_t>& row : rows) {
        AttentionCase c;
        c.mask = masks[static_cast<size_t>(row[mask])].name;
        c.score = scores[static_cast<size_t>(row[score])].name;
        const auto& t = types[row[type]];
        c.q_type = t[0];
        c.k_type = t[1];
        c.v_type = t[2];
        c.o_type = t[3];
        c.head_dim = dims[row[dim]][0];
        c.value_dim = dims[row[dim]][1];
        c.schedule = schedules[row[schedule]];
        c.layout = layouts[row[layout]];
        const auto& [b, hq, hkv] = heads[row[head]];
        c.shape = {b, hq, hkv, lengths[row[length]][0], lengths[row[length]][1]};
        if (c.schedule == vkattn::Schedule::list) {
            c.block_q = blocks[row[block]][0];
            c.block_kv = blocks[row[block]][1];
        }
        c.poison = poisons[row[poison]];
        c.seed = 1000 + cases.size();
        c.slices = 1 + static_cast<uint32_t>(cases.size() % 3);
        const std::string name = "pairwise " + std::to_string(cases.size()) + ": " + c.mask + ", " + c.score;
        cases.push_back({.name = name, .attention_case = c});
    }
}

}  // namespace

std::vector<TestedCase> case_table(Table table) {
    std::vector<TestedCase> cases;
    for (const Line& line : lines)
        if (table != Table::quick || line.level == in_quick)
            cases.push_back({.name = line.name,
                             .attention_case = *read_case(line.text),
                             .quick = line.level == in_quick,
                             .bits = line.bits == same_bits});
    if (table == Table::full) add_pairwise(cases);
    return cases;
}

}  // namespace vkattn_tests
