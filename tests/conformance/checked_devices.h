// docs/devices.md, the table of devices that were checked, from docs/devices/*.json: a file a device and driver, trimmed out of what
// vkattn-conformance ("computed") and tests/vendors.sh ("compiled") write. Reports come from strangers: nothing in one reaches a
// path, a table or a page unchecked.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "report.h"
#include "vkattn/result.h"

namespace vkattn_tests {

struct CheckedDevice {
    std::string file;  // "llvmpipe-llvm-21-1-8-256-bits-mesa-26-1-6.json": letters, digits and hyphens
    Json report;       // the fields that the page needs, in range
};

// The devices of a report: of vkattn-conformance, of tests/vendors.sh, or out of docs/devices.
// Errors: invalid_argument, with the field and what would be right.
vkattn::Result<std::vector<CheckedDevice>> read_device_report(std::string_view text);

// As it lies in docs/devices.
std::string to_text(const CheckedDevice& device);

// docs/devices.md. Any order of devices gives the same page.
std::string devices_page(std::vector<CheckedDevice> devices);

}  // namespace vkattn_tests
