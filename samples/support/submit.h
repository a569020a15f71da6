// Record, submit, wait: one command buffer at a time.
#pragma once

#include <functional>

#include "support/device.h"

namespace vkattn::support {

// Records with `record`, submits and waits. Everything before is visible to the commands, their writes to what comes after and to
// the host.
Status submit(const Device& device, const std::function<void(VkCommandBuffer)>& record);

struct Timing {
    double ms = 0.0;
    bool device_clock = true;  // false: the queue has no timestamps; the host's clock around submit and wait
};

// The same, with the time that the recorded commands took.
Result<Timing> submit_timed(const Device& device, const std::function<void(VkCommandBuffer)>& record);

}  // namespace vkattn::support
