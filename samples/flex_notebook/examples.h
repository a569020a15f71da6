// The examples of PyTorch's FlexAttention notebook (attention-gym's flex_attn.ipynb) by its own names, in C++ and in text.
// Numbers are params and ids are tables, so one pipeline serves every length.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "vkattn/bindings.h"
#include "vkattn/mask.h"

namespace flex_notebook {

// One size of an example: its lengths, and the values of the names in it.
struct Instance {
    int32_t q_len = 0;
    int32_t kv_len = 0;
    vkattn::Bindings values;
};

// A mask or score mod together with the C++ that makes it, as it stands in examples.cpp.
template <class T>
struct Shown {
    T value;
    std::string cpp;
};

struct Example {
    std::string title;
    std::string meaning;
    Shown<vkattn::Mask> mask;
    std::string mask_text;
    Shown<vkattn::ScoreMod> score_mod;
    std::string score_text;
    // The pairs that have a weight, where they are fewer than the mask's: a score mod can hide pairs, too.
    std::optional<vkattn::Mask> weighted;
    std::function<Instance(int32_t length, int32_t heads)> instance;

    const vkattn::Mask& pairs() const { return weighted ? *weighted : mask.value; }
};

std::vector<Example> notebook_examples();

// "window = 128, doc i32 [1024]"; empty when nothing is named.
std::string values_text(const vkattn::Bindings& values);

}  // namespace flex_notebook
