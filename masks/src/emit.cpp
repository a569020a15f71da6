#include "vkattn/emit.h"

#include <utility>

#include "intervals.h"
#include "range_text.h"
#include "tree_text.h"
#include "vkattn/hash.h"

namespace vkattn {
namespace {

using detail::StructField;
using detail::TreeText;

// Far above any mask that makes sense; what a shader compiler takes in seconds ends not much beyond.
constexpr size_t max_nodes = 1u << 14;

Status check(const Tree& tree, Type type, const char* what) {
    if (tree.nodes.empty() || tree.nodes.back().type != type) {
        return error(Code::invalid_argument, std::string(what) + " ends in a value of the wrong type.");
    }
    if (tree.nodes.size() > max_nodes) {
        return error(Code::limit_exceeded, std::string(what) + " has " + std::to_string(tree.nodes.size()) +
                                               " nodes; at most " + std::to_string(max_nodes) + " are emitted.");
    }
    for (const Node& node : tree.nodes) {
        if (node.op == Op::param) return error(Code::invalid_argument, std::string(what) + " was not normalised.");
    }
    return {};
}

bool is_identity(const Tree& score_mod) { return score_mod.nodes.back().op == Op::score; }

std::string struct_text(const char* name, const std::vector<StructField>& fields) {
    if (fields.empty()) return std::string("struct ") + name + " { int unused; };\n";
    std::string text = std::string("struct ") + name + " {\n";
    for (const StructField& field : fields) text += "    " + field.type + " " + field.name + ";\n";
    return text + "};\n";
}

std::string constructor(const char* name, const std::vector<StructField>& fields) {
    std::string values = fields.empty() ? "0" : "";
    for (const StructField& field : fields) values += (values.empty() ? "" : ", ") + field.value;
    return std::string("    return ") + name + "(" + values + ");\n}\n";
}

std::vector<StructField> joined(std::vector<StructField> x, const std::vector<StructField>& y) {
    x.insert(x.end(), y.begin(), y.end());
    return x;
}

std::string range_text(const TreeText& mask, const detail::RangeProgram& program) {
    return "    int n = params.kv_len;\n" + mask.row_statements(detail::range_nodes(program)) +
           detail::range_statements(program, [&mask](int32_t node) { return mask.name(node); });
}

}  // namespace

Result<EmittedHook> emit_hook(const Tree& mask, const Tree& score_mod) {
    if (Status status = check(mask, Type::boolean, "The mask"); !status) return status;
    if (Status status = check(score_mod, Type::f32, "The score mod"); !status) return status;

    EmittedHook hook;
    hook.has_mask = !is_literal_true(mask);
    hook.has_score_mod = !is_identity(score_mod);
    const TreeText mask_text(mask, {'m', 0, 0, 0});
    const TreeText score_text(score_mod,
                              {'s', static_cast<uint32_t>(mask.slots.size()), static_cast<uint32_t>(mask.tables.size()),
                               static_cast<uint32_t>(mask_text.specialised_slots().size())});
    const detail::RangeProgram range = detail::range_program(mask);
    hook.has_interval = range.informative;
    hook.interval_exact = range.exact;
    const uint8_t mask_depends = mask_text.depends().back();
    const uint8_t score_depends = score_text.depends().back();
    hook.differs_by_batch = (mask_depends & detail::on_b) != 0;
    hook.differs_by_head = ((mask_depends | score_depends) & detail::on_h) != 0;
    hook.n_slots = static_cast<uint32_t>(mask.slots.size() + score_mod.slots.size());
    hook.n_tables = static_cast<uint32_t>(mask.tables.size() + score_mod.tables.size());
    hook.specialised = mask_text.specialised_slots();
    hook.specialised.insert(hook.specialised.end(), score_text.specialised_slots().begin(),
                            score_text.specialised_slots().end());

    std::string text = "// Emitted from a mask and a score mod.\n#include \"safe_math.glsl\"\n";
    if (hook.n_tables > 0) text += "#include \"mask_tables.glsl\"\n";
    if (hook.has_mask) text += "#include \"row_ranges.glsl\"\n";
    text += std::string("#define HAS_MASK_MOD ") + (hook.has_mask ? "1" : "0") + "\n";
    text += std::string("#define HAS_SCORE_MOD ") + (hook.has_score_mod ? "1" : "0") + "\n\n";
    for (size_t i = 0; i < hook.specialised.size(); ++i) {
        const std::string number = std::to_string(i);
        text += "layout(constant_id = SPEC_MASK_FIRST + " + number + ") const int mask_spec_" + number + " = 1;\n";
    }

    const std::vector<StructField> row = joined(mask_text.row_fields(), score_text.row_fields());
    const std::vector<StructField> column = joined(mask_text.column_fields(), score_text.column_fields());
    text += struct_text("MaskRow", row) + struct_text("MaskCol", column);
    text += "\nMaskRow mask_row(int b, int h, int q) {\n" + mask_text.row_statements() + score_text.row_statements() +
            constructor("MaskRow", row);
    text += "\nMaskCol mask_col(int b, int h, int kv) {\n" + mask_text.column_statements() +
            score_text.column_statements() + constructor("MaskCol", column);
    text += "\nbool mask_pair(MaskRow row, MaskCol col, int b, int h, int q, int kv) {\n" +
            mask_text.pair_statements() + "    return " + mask_text.name(mask_text.result()) + ";\n}\n";
    text += "\nfloat score_pair(MaskRow row, MaskCol col, float score, int b, int h, int q, int kv) {\n" +
            score_text.pair_statements() + "    return " + score_text.name(score_text.result()) + ";\n}\n";
    text += "\nKeyRange mask_row_range(MaskRow row, int b, int h, int q) {\n";
    text += hook.has_mask ? range_text(mask_text, range)
                          : std::string("    return KeyRange(0, params.kv_len, 0, params.kv_len);\n");
    text += "}\n";

    hook.glsl = std::move(text);
    hook.hash = hash_hex(hook.glsl);
    return hook;
}

}  // namespace vkattn
