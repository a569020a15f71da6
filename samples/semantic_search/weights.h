// Weights: a TensorFlow.js model's numbers, read from model.json's manifest and its shards. Both are data from the network.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "vkattn/result.h"

namespace semantic_search {

class Weights {
  public:
    // `directory` holds model.json and the shards that its manifest names. Names, shapes, types, sizes are checked.
    static vkattn::Result<Weights> load(const std::string& directory);

    // The f32 tensor of this name and shape, row-major, all values finite; valid as long as the Weights (moves included).
    // Errors name the tensor and the shape that the file has.
    vkattn::Result<const float*> tensor(std::string_view name, std::initializer_list<int64_t> shape) const;

    size_t bytes() const { return values_.size() * sizeof(float); }

  private:
    struct Entry {
        std::vector<int64_t> shape;
        size_t offset = 0;  // elements into values_
        bool is_float = false;
    };

    Weights() = default;

    std::map<std::string, Entry, std::less<>> entries_;
    std::vector<float> values_;  // every tensor, as they follow each other in the shards; 4 bytes each
};

}  // namespace semantic_search
