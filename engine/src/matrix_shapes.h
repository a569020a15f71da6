// Which cooperative matrices a device offers, and what must be enabled for them.
#pragma once

#include <functional>

#include "functions.h"
#include "vkattn/device.h"

namespace vkattn {

// After apply_quirks. Fills in `wanted` what Path::khr needs: features, extensions, shapes, and reasons why not. `has_extension` asks the device.
void require_matrices(const InstanceFunctions& functions, VkPhysicalDevice physical_device, uint32_t api_version,
                      const std::function<bool(const char*)>& has_extension, Requirements& wanted);

}  // namespace vkattn
