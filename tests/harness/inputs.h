// What a case means, by value, and the Problem and Args that go with it. No device, no test framework.
#pragma once

#include <optional>

#include "attention_case.h"
#include "catalogue.h"
#include "guarded_bytes.h"
#include "vkattn/block_mask.h"
#include "vkattn/engine.h"

namespace vkattn_tests {

// k and v already carry the case's poison.
struct Inputs {
    Values q, k, v;
    MaskUse mask;
    ScoreUse score;
    vkattn::Bindings bindings;              // of both
    std::optional<vkattn::BlockMask> list;  // when the schedule is list: classified from the mask
    Keep keep;                              // what the result must follow; the mask's unless a test changes it
};
// Errors: a mask or score mod that the catalogue does not have, a list that cannot be made.
vkattn::Result<Inputs> inputs_for(const AttentionCase& attention_case);

struct TensorPlacements {
    Placement q, k, v, o;
};
TensorPlacements placements_of(const AttentionCase& attention_case);
vkattn::Problem problem_of(const AttentionCase& attention_case, const Inputs& inputs);
vkattn::ArgsInfo args_of(const AttentionCase& attention_case, const Inputs& inputs);

}  // namespace vkattn_tests
