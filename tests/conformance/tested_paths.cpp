#include "tested_paths.h"

#include <algorithm>

namespace vkattn_tests {

using vkattn::Addressing;
using vkattn::Path;
using vkattn::Skeleton;
using vkattn::Widen;

const std::vector<TestedPath>& tested_paths() {
    // The rows skeleton unrolls whole rows of k and v. Through descriptors some drivers then compile for tens of seconds, which is
    // why plan() does not choose it for longer rows; nor does this list.
    constexpr int32_t short_rows = 128;
    static const std::vector<TestedPath> paths = {
        {.name = "automatic", .meaning = "what plan() chooses by itself"},
        {.name = "rows-address",
         .meaning = "a query row an invocation, buffers by device address",
         .path = Path::scalar,
         .skeleton = Skeleton::rows,
         .addressing = Addressing::address},
        {.name = "rows-binding",
         .meaning = "a query row an invocation, buffers through descriptors",
         .path = Path::scalar,
         .skeleton = Skeleton::rows,
         .addressing = Addressing::binding,
         .max_dims = short_rows},
        {.name = "tiles-address",
         .meaning = "tiles in shared memory, buffers by device address",
         .path = Path::scalar,
         .skeleton = Skeleton::tiles,
         .addressing = Addressing::address},
        {.name = "tiles-binding",
         .meaning = "tiles in shared memory, buffers through descriptors",
         .path = Path::scalar,
         .skeleton = Skeleton::tiles,
         .addressing = Addressing::binding},
        {.name = "rows-no-subgroups",
         .meaning = "a query row an invocation, without subgroup operations",
         .path = Path::scalar,
         .skeleton = Skeleton::rows,
         .subgroups = false,
         .max_dims = short_rows},
        {.name = "tiles-no-subgroups",
         .meaning = "tiles in shared memory, without subgroup operations",
         .path = Path::scalar,
         .skeleton = Skeleton::tiles,
         .subgroups = false},
        {.name = "decode-address",
         .meaning = "invocations share a key between them, buffers by device address",
         .path = Path::scalar,
         .skeleton = Skeleton::decode,
         .addressing = Addressing::address},
        {.name = "decode-binding",
         .meaning = "invocations share a key between them, buffers through descriptors",
         .path = Path::scalar,
         .skeleton = Skeleton::decode,
         .addressing = Addressing::binding},
        {.name = "splits", .meaning = "keys cut into three parts, merged", .path = Path::scalar, .splits = 3},
        {.name = "khr", .meaning = "matrix units, VK_KHR_cooperative_matrix", .path = Path::khr},
        {.name = "nv",
         .meaning = "matrix units, VK_NV_cooperative_matrix2, a matrix in a subgroup",
         .path = Path::nv,
         .workgroup_matrices = false},
        {.name = "nv-workgroups",
         .meaning = "matrix units, VK_NV_cooperative_matrix2, a matrix in a workgroup, tensor addressing",
         .path = Path::nv},
        {.name = "widened", .meaning = "k and v widened to f32 rows first", .path = Path::scalar, .widen = Widen::on},
        {.name = "lists-indices",
         .meaning = "block lists as PyTorch's arrays, from the host",
         .lists = Lists::indices,
         .benchmarked = false},
        {.name = "lists-device",
         .meaning = "block lists made on the device, entry for entry those of the host",
         .lists = Lists::made_on_device,
         .benchmarked = false},
    };
    return paths;
}

const TestedPath* find_path(std::string_view name) {
    const auto& paths = tested_paths();
    const auto found = std::find_if(paths.begin(), paths.end(), [&](const TestedPath& p) { return p.name == name; });
    return found == paths.end() ? nullptr : &*found;
}

std::string path_names() {
    std::string names;
    for (const TestedPath& path : tested_paths()) names += " " + std::string(path.name);
    return names;
}

bool takes(const TestedPath& path, const AttentionCase& c) {
    if (path.lists != Lists::runs && c.schedule != vkattn::Schedule::list) return false;
    return c.head_dim + c.value_dim <= path.max_dims;
}

AttentionCase on_path(const TestedPath& path, AttentionCase c) {
    c.skeleton = path.skeleton;
    c.addressing = path.addressing;
    c.widen = path.widen;
    c.path = path.path;
    c.splits = path.splits;
    c.encoding = path.lists == Lists::runs ? vkattn::ListEncoding::runs : vkattn::ListEncoding::indices;
    return c;
}

vkattn::Problem on_path(const TestedPath& path, vkattn::Problem problem) {
    problem.build_lists = path.lists == Lists::made_on_device;
    return problem;
}

}  // namespace vkattn_tests
