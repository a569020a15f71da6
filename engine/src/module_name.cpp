#include "module_name.h"

namespace vkattn {

std::string module_name(const ModuleKey& key) {
    auto flag = [](bool value) { return value ? "1" : "0"; };
    std::string name = key.kernel;
    name += '.';
    name += to_string(key.addressing);
    if (key.address_int64) name += "-int64";
    for (ElementType type : {key.q_type, key.k_type, key.v_type, key.o_type}) {
        name += '.';
        name += to_string(type);
    }
    name += std::string(".vec4-") + flag(key.q_vec4) + flag(key.k_vec4) + flag(key.v_vec4) + flag(key.o_vec4);
    name += std::string(".subgroup-") + flag(key.subgroup_reduce);
    if (key.workgroup_matrices) name += ".workgroup-matrices";
    for (const auto& [id, value] : key.literals) name += '.' + std::to_string(id) + '-' + std::to_string(value);
    return name + '.' + key.hook_hash;
}

}  // namespace vkattn
