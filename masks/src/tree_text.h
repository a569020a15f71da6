// GLSL statements of one tree, node by node, split over the three functions that evaluate it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dependence.h"
#include "vkattn/tree.h"

namespace vkattn::detail {

// Where the trees' numbers begin in the hook that holds them.
struct TextBase {
    char prefix = 'm';  // node 17 is the variable m17
    uint32_t slot = 0;
    uint32_t table = 0;
    uint32_t specialised = 0;
};

// A member of MaskRow or MaskCol: `value` is its text inside mask_row or mask_col.
struct StructField {
    std::string type, name, value;
};

// Every node that is used becomes one statement, so operands are plain variables: glslang then turns && || ?: into straight-line code
// instead of branches.
class TreeText {
  public:
    // Plans the pair function of `tree`: what it takes from the row and from the key.
    TreeText(const Tree& tree, const TextBase& base);

    const std::vector<StructField>& row_fields() const { return row_fields_; }
    const std::vector<StructField>& column_fields() const { return column_fields_; }
    const std::vector<uint8_t>& depends() const { return depends_; }
    // Numbers of the slots that are specialization constants, in their order.
    const std::vector<uint32_t>& specialised_slots() const { return specialised_slots_; }

    std::string row_statements() const { return statements(Level::row, row_targets_); }
    std::string column_statements() const { return statements(Level::column, column_targets_); }
    std::string pair_statements() const { return statements(Level::pair, {result()}); }
    // Statements after which `name` of each of these row-level nodes is declared.
    std::string row_statements(const std::vector<int32_t>& nodes) const { return statements(Level::row, nodes); }
    std::string name(int32_t node) const;
    int32_t result() const { return static_cast<int32_t>(tree_.nodes.size()) - 1; }

  private:
    const Node& node(int32_t i) const { return tree_.nodes[static_cast<size_t>(i)]; }
    Level level_of(int32_t i) const { return level(depends_[static_cast<size_t>(i)]); }
    Level slice_level(const Node& lookup) const;
    bool is_free(int32_t i) const;
    uint8_t first_needed_arg(Level place, int32_t i) const;
    std::vector<bool> needed(Level place, const std::vector<int32_t>& targets) const;
    void plan_fields();
    std::string statements(Level place, const std::vector<int32_t>& targets) const;
    std::string value(Level place, int32_t i) const;
    std::string slice(const Node& lookup, const std::string& table) const;
    std::string leaf(int32_t i) const;

    const Tree& tree_;
    TextBase base_;
    std::vector<uint8_t> depends_;
    std::vector<uint32_t> specialised_slots_;
    std::vector<int32_t> specialised_number_;  // per slot: of its constant, or -1
    std::vector<StructField> row_fields_, column_fields_;
    std::vector<int32_t> row_targets_, column_targets_;
};

}  // namespace vkattn::detail
