// What a report says about a device besides its name: limits, subgroups, features, matrix shapes, and why paths are missing.
#pragma once

#include "report.h"
#include "support/device.h"

namespace vkattn_tests {

Json facts_of(const vkattn::support::Device& device, const vkattn::Capabilities& capabilities);

}  // namespace vkattn_tests
