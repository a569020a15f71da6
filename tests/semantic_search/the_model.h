// The real model, once per process.
#pragma once

#include "model.h"

namespace vkattn_tests {

// Null, and a line that ctest shows as a skip, when the model is not on this machine. A model that is there and does not load
// fails the test.
const semantic_search::SentenceEncoder* the_model();

}  // namespace vkattn_tests
