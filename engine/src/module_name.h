// The text that names a module completely, but for the shaders' sources: kernel, axes, hook.
#pragma once

#include <string>

#include "variant.h"

namespace vkattn {

std::string module_name(const ModuleKey& key);

}  // namespace vkattn
