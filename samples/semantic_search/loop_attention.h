// Attention as two plain loops in double on the CPU: what the device is held against, and what runs where there is no device.
#pragma once

#include "model.h"

namespace semantic_search {

// sharpness multiplies the scores: 1 is attention, 0 gives every token of the sentence the same weight.
vkattn::Status loop_attention(const AttentionCall& call, double sharpness = 1.0);

}  // namespace semantic_search
