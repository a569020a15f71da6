// The program's own checks: facts about the model and promises of the packing, held against what the device computed.
#pragma once

#include "device_attention.h"
#include "search.h"

namespace semantic_search {

struct Check {
    std::string name;
    std::string found;  // the figures, for a person
    bool ok = false;
};

// Embeds the built-in sentences and queries in several ways. An error only when something could not be computed.
vkattn::Result<std::vector<Check>> verify(const SentenceEncoder& encoder, DeviceAttention& device);

}  // namespace semantic_search
