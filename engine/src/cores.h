// How many workgroups a device runs side by side.
#pragma once

#include "functions.h"
#include "vkattn/device.h"

namespace vkattn {

// Threads of this machine for a software device, compute units, multiprocessors or shader cores where the driver says, else a guess
// by the kind of device.
uint32_t count_cores(const InstanceFunctions& functions, const DeviceInfo& device);

}  // namespace vkattn
