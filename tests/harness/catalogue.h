// Masks and score mods by name, each beside a brute-force function that shares nothing with the library's evaluation.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "vkattn/bindings.h"
#include "vkattn/mask.h"

namespace vkattn_tests {

using Keep = std::function<bool(int32_t b, int32_t h, int32_t q, int32_t kv)>;
using ChangeScore = std::function<double(double score, int32_t b, int32_t h, int32_t q, int32_t kv)>;

// A mask ready to use for one shape. `mask`'s structure depends on the name alone, except where a name says otherwise.
struct MaskUse {
    vkattn::Mask mask;
    vkattn::Bindings bindings;
    Keep keep;
};
struct ScoreUse {
    vkattn::ScoreMod score_mod;
    vkattn::Bindings bindings;
    ChangeScore change;
};

struct MaskEntry {
    std::string_view name;
    bool interval;  // the interval schedule must apply (design.md: full, causal, window, padding, prefix)
    MaskUse (*make)(const vkattn::Shape& shape, uint64_t seed);
};
struct ScoreEntry {
    std::string_view name;
    ScoreUse (*make)(const vkattn::Shape& shape, uint64_t seed);
};

const std::vector<MaskEntry>& mask_entries();
const std::vector<ScoreEntry>& score_entries();
const MaskEntry* find_mask(std::string_view name);  // null: there is none of that name
const ScoreEntry* find_score(std::string_view name);
std::string mask_names();  // " full causal ..."
std::string score_names();

std::shared_ptr<const vkattn::TableData> i32_table(std::vector<int64_t> dims, std::vector<int32_t> values);
std::shared_ptr<const vkattn::TableData> f32_table(std::vector<int64_t> dims, std::vector<float> values);

}  // namespace vkattn_tests
