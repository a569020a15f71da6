#include "documents.h"

#include <iterator>
#include <random>
#include <string>

#include "support/safetensors.h"
#include "vkattn/sources/nanogpt.h"

namespace long_short_windows {

using vkattn::Code;
using vkattn::error;
using vkattn::Result;

std::vector<int32_t> made_up_tokens(int32_t count, int32_t end_of_text) {
    constexpr int32_t lengths[] = {180, 37, 420, 5, 2300, 64, 900, 12, 250, 700, 1};
    std::mt19937 random(7);
    std::vector<int32_t> tokens;
    for (size_t document = 0; tokens.size() < static_cast<size_t>(count); ++document) {
        tokens.push_back(end_of_text);
        for (int32_t i = 1; i < lengths[document % std::size(lengths)]; ++i) {
            const auto token = static_cast<int32_t>(random() % vkattn::modded_nanogpt::end_of_text);
            tokens.push_back(token == end_of_text ? token + 1 : token);
        }
    }
    tokens.resize(static_cast<size_t>(count));
    return tokens;
}

Result<std::vector<int32_t>> read_tokens(const std::filesystem::path& path, int32_t limit) {
    auto file = vkattn::support::Safetensors::open(path);
    if (!file) return file.status();
    const vkattn::support::Tensor* tensor =
        file->tensors().size() == 1 ? &file->tensors().front() : file->find("tokens");
    const auto bad = [&](const std::string& what) {
        return error(Code::invalid_argument, path.string() + ": " + what);
    };
    if (tensor == nullptr) return bad("there is no tensor 'tokens', and more or fewer than one tensor");
    if (tensor->shape.size() != 1 || tensor->shape[0] < 1)
        return bad("'" + tensor->name + "' is " + tensor->shape_text() +
                   "; token ids are one dimension, [n] with n >= 1");
    auto tokens = vkattn::support::to_i32(*tensor);
    if (!tokens) return bad(tokens.status().message);
    if (tokens->size() > static_cast<size_t>(limit)) tokens->resize(static_cast<size_t>(limit));
    return tokens;
}

}  // namespace long_short_windows
