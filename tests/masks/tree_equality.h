// Equality of trees as far as text can say it: nodes, and the names and types of params and tables.
#pragma once

#include <algorithm>

#include "vkattn/tree.h"

namespace vkattn::test {

inline bool same_tree(const Tree& a, const Tree& b) {
    return a.nodes == b.nodes &&
           std::equal(a.params.begin(), a.params.end(), b.params.begin(), b.params.end(),
                      [](const ParamRef& x, const ParamRef& y) { return x.name == y.name && x.type == y.type; }) &&
           std::equal(a.tables.begin(), a.tables.end(), b.tables.begin(), b.tables.end(),
                      [](const TableRef& x, const TableRef& y) {
                          return x.name == y.name && x.type == y.type && x.n_dims == y.n_dims;
                      });
}

}  // namespace vkattn::test
