// The values a mask is used with: the shape of the problem, scalars and tables by name.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "vkattn/result.h"
#include "vkattn/tree.h"

namespace vkattn {

// Lengths and counts in elements. batch, q_heads, kv_heads >= 1, q_heads % kv_heads == 0; lengths >= 0.
struct Shape {
    int32_t batch = 1;
    int32_t q_heads = 1;
    int32_t kv_heads = 1;
    int32_t q_len = 0;
    int32_t kv_len = 0;

    bool operator==(const Shape&) const = default;
};
Status check(const Shape& shape);

using Scalar = std::variant<int32_t, float>;

// 1 to 4 dimensions, none negative, at most 2^31 - 1 elements, as many as the data of its type holds. `name` is for
// the message.
Status check(const TableData& table, std::string_view name);

// Names to values. An i32 value is accepted for an f32 param (converted), not the other way round.
struct Bindings {
    std::map<std::string, Scalar, std::less<>> scalars;
    std::map<std::string, std::shared_ptr<const TableData>, std::less<>> tables;
};

// A tree's params and tables resolved against bindings, captures and defaults; in the tree's order.
// Errors name the missing or mistyped name, and what was wanted.
struct ResolvedBindings {
    std::vector<uint32_t> params;                          // bits, per Tree::params
    std::vector<std::shared_ptr<const TableData>> tables;  // per Tree::tables; type, n_dims and count checked
};
// A table without elements is an error, except with a shape that has no pairs: there nothing reads it.
Result<ResolvedBindings> resolve(const Tree& tree, const Bindings& bindings);
Result<ResolvedBindings> resolve(const Tree& tree, const Bindings& bindings, const Shape& shape);

}  // namespace vkattn
