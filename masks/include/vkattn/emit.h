// Emission: a normalised mask and score mod become the text of shaders/include/mask_hook.glsl.
#pragma once

#include <string>
#include <vector>

#include "vkattn/normalise.h"

namespace vkattn {

// Which table and slot of the emitted text belongs to what. Slots and tables of the mask come first, then the score mod's.
struct EmittedHook {
    std::string glsl;       // replaces the include "mask_hook.glsl"; the contract is written there
    std::string hash;       // of the text's structure: equal hashes, equal text
    bool has_mask = false;  // false: every pair is kept
    bool has_score_mod = false;
    bool has_interval = false;  // KeyRange is better than "everything": the interval schedule applies
    // One interval per row is the mask: the range of every row is all there is to test. Holds for q_len and kv_len up to 2^28
    // (KEY_RANGE_MAX_LENGTH in row_ranges.glsl); beyond, every range is "any key, none for certain".
    bool interval_exact = false;
    bool differs_by_batch = false;  // the mask depends on b
    bool differs_by_head = false;   // the mask or the score mod depends on h
    uint32_t n_slots =
        0;  // AttentionParams::slots used, mask's then score mod's, in order, specialised ones included (their place is unused)
    std::vector<uint32_t> specialised;  // slot numbers that are specialization constants SPEC_MASK_FIRST + position
    uint32_t n_tables = 0;
};

// Both trees normalised. The text includes safe_math.glsl, mask_tables.glsl and row_ranges.glsl itself, and needs before it: params,
// TableInfo, tables_word(), struct KeyRange and SPEC_MASK_FIRST. It holds nothing of the user's text or names.
// Errors: a tree that was not normalised, or one of more than 16,384 nodes.
Result<EmittedHook> emit_hook(const Tree& normalised_mask, const Tree& normalised_score_mod);

}  // namespace vkattn
