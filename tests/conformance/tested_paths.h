// The ways in which the library can compute one attention call. Adding one is a line in tested_paths.cpp.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "harness/attention_case.h"
#include "vkattn/engine.h"

namespace vkattn_tests {

// How a case of the list schedule gets its lists: runs from the host, PyTorch's arrays from the host, or arrays made on the device.
enum class Lists : uint8_t { runs, indices, made_on_device };

struct TestedPath {
    std::string_view name;
    std::string_view meaning;
    vkattn::Path path = vkattn::Path::automatic;
    vkattn::Skeleton skeleton = vkattn::Skeleton::automatic;
    vkattn::Addressing addressing = vkattn::Addressing::automatic;
    vkattn::Widen widen = vkattn::Widen::automatic;
    int32_t splits = 0;              // Problem::splits
    Lists lists = Lists::runs;       // others: only cases of the list schedule
    bool subgroups = true;           // false: as on a device without subgroup operations
    bool workgroup_matrices = true;  // false: as on a device without matrices of workgroups; true: of Path::nv these
    int32_t max_dims = 1152;         // cases with a larger D + Dv are left out
    bool benchmarked = true;
};

const std::vector<TestedPath>& tested_paths();
const TestedPath* find_path(std::string_view name);  // null: there is none of that name
std::string path_names();                            // " automatic rows-address ..."

// Whether the path says anything about the case.
bool takes(const TestedPath& path, const AttentionCase& attention_case);
// The case as the path computes it.
AttentionCase on_path(const TestedPath& path, AttentionCase attention_case);
vkattn::Problem on_path(const TestedPath& path, vkattn::Problem problem);

}  // namespace vkattn_tests
