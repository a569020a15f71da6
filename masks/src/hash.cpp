#include "vkattn/hash.h"

#include "structure_hash.h"

namespace vkattn {

std::string hash_hex(std::string_view bytes) { return detail::hash_hex(bytes); }

}  // namespace vkattn
