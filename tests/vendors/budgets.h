// What pipelines may cost with any version of Mesa. What moves between versions is in expectations.h.
#pragma once

#include <cstdint>

namespace vkattn_tests {

// No pipeline spills or uses scratch memory, on any device.
constexpr uint64_t max_spills = 0, max_scratch_bytes = 0;

// All fit the shared memory that Vulkan guarantees, those on matrix units twice that, at any head dim.
constexpr uint64_t max_shared_bytes = 16384, max_matrix_shared_bytes = 32768;

// Shared memory against the plan's own count: what a schedule does not use, and what drivers round up to.
constexpr uint64_t max_unused_shared_bytes = 16, shared_granule_bytes = 1024;

}  // namespace vkattn_tests
