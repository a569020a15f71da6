// What the device itself can do, measured in the same run as everything that is held against it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "support/device.h"
#include "vkattn/engine.h"

namespace vkattn::bench {

// Multiply-adds by matrix units, a [m, k] . b [k, n] + c [m, n] in f32: the fastest of the device's shapes for a type.
struct MatrixLimit {
    MatrixShape shape;
    double gflops = 0.0;
};

struct DeviceLimits {
    double f32_gflops = 0.0;           // register-resident multiply-adds, two operations each
    std::optional<double> f16_gflops;  // none: no shaderFloat16
    std::vector<MatrixLimit> matrix;   // one for each type; none where the engine has no matrix path
    double read_gb_per_s = 0.0;        // streaming, 10^9 bytes a second; the best of three walks
    double copy_gb_per_s = 0.0;        // bytes read plus bytes written, by a kernel or vkCmdCopyBuffer
    uint64_t stream_bytes = 0;         // that one pass reads
    bool through_addresses = false;    // how the streaming kernels reached memory
};

// The best of several passes, as a limit has to be. `budget_ms` for each of the kernels. `capabilities`: for the shapes of
// matrices and the sizes of subgroups.
Result<DeviceLimits> measure_limits(const support::Device& device, const Capabilities& capabilities, double budget_ms);

// A limit is the most that was ever seen: on a machine that others use, too, one measurement may be too low.
DeviceLimits best_of(const DeviceLimits& a, const DeviceLimits& b);

}  // namespace vkattn::bench
