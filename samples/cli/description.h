// From the command line's texts, --param values and a file of tensors to a mask, a score mod and their bindings.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "support/safetensors.h"
#include "vkattn/bindings.h"
#include "vkattn/mask.h"

namespace vkattn::cli {

struct DescriptionText {
    std::string mask = "true";  // or "@file"
    std::string score = "score";
    std::vector<std::string> params;  // "name=value"
};

struct Description {
    Mask mask;
    ScoreMod score_mod;
    Bindings bindings;
    std::string mask_text;  // as read from "@file", without surrounding blanks
    std::string score_text;
};

// Tensors of `file` (null: none) except those in `reserved` are tables by name: I32, I64 (checked) and U8 become i32, BOOL bool, F32, F16
// and BF16 f32. Those with one element are scalars, too; --param goes before them. Only what the texts name is converted.
Result<Description> describe(const DescriptionText& text, const support::Safetensors* file,
                             std::span<const std::string_view> reserved);

}  // namespace vkattn::cli
