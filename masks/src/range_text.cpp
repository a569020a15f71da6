#include "range_text.h"

namespace vkattn::detail {
namespace {

std::string value_name(int32_t i) { return "v" + std::to_string(i); }
std::string range_name(int32_t i) { return "r" + std::to_string(i); }

const char* bounds_function(Relation relation) {
    switch (relation) {
    case Relation::lt: return "bounds_lt";
    case Relation::le: return "bounds_le";
    case Relation::gt: return "bounds_gt";
    case Relation::ge: return "bounds_ge";
    case Relation::eq: return "bounds_eq";
    case Relation::abs_lt: return "bounds_abs_lt";
    case Relation::abs_le: return "bounds_abs_le";
    }
    return "";
}

// Bounds of x, as text, from the text of bounds of sign * x + offset.
std::string solved(const RangeProgram& program, const std::string& bounds, const LinearKey& form, const char* limit) {
    const bool is_zero = program.values[static_cast<size_t>(form.offset)].kind == RowValue::Kind::zero;
    if (is_zero && form.sign > 0) return bounds;
    const std::string offset = value_name(form.offset);
    std::string text = (form.sign > 0 ? "bounds_minus(" : "bounds_reflect(") + bounds + ", " + offset + ")";
    if (form.checked) text = "bounds_checked(" + text + ", " + offset + ", " + limit + ")";
    return text;
}

std::vector<bool> used_values(const RangeProgram& program) {
    std::vector<bool> used(program.values.size(), false);
    const auto use = [&used](int32_t i) {
        if (i >= 0) used[static_cast<size_t>(i)] = true;
    };
    const auto use_offset = [&](const LinearKey& form) {
        const bool is_zero =
            form.offset >= 0 && program.values[static_cast<size_t>(form.offset)].kind == RowValue::Kind::zero;
        if (!is_zero || form.sign < 0) use(form.offset);
    };
    for (const RangeStep& step : program.steps) {
        use(step.bound);
        use_offset(step.outer);
        use_offset(step.inner);
    }
    for (size_t i = used.size(); i-- > 0;) {
        const RowValue& value = program.values[i];
        if (!used[i] || value.kind == RowValue::Kind::node) continue;
        use(value.a);
        use(value.b);
    }
    return used;
}

}  // namespace

std::vector<int32_t> range_nodes(const RangeProgram& program) {
    std::vector<int32_t> nodes;
    const std::vector<bool> used = used_values(program);
    for (size_t i = 0; i < used.size(); ++i) {
        if (used[i] && program.values[i].kind == RowValue::Kind::node) nodes.push_back(program.values[i].a);
    }
    for (const RangeStep& step : program.steps) {
        if (step.node >= 0) nodes.push_back(step.node);
        if (step.divisor >= 0) nodes.push_back(step.divisor);
    }
    return nodes;
}

std::string range_statements(const RangeProgram& program, const std::function<std::string(int32_t)>& node_name) {
    std::string text;
    const std::vector<bool> used = used_values(program);
    for (size_t i = 0; i < used.size(); ++i) {
        if (!used[i]) continue;
        const RowValue& value = program.values[i];
        text += "    int " + value_name(static_cast<int32_t>(i)) + " = ";
        switch (value.kind) {
        case RowValue::Kind::zero: text += "0"; break;
        case RowValue::Kind::node: text += node_name(value.a); break;
        case RowValue::Kind::add: text += value_name(value.a) + " + " + value_name(value.b); break;
        case RowValue::Kind::sub: text += value_name(value.a) + " - " + value_name(value.b); break;
        case RowValue::Kind::neg: text += "-" + value_name(value.a); break;
        }
        text += ";\n";
    }
    bool compares = false;
    for (size_t i = 0; i < program.steps.size(); ++i) {
        const RangeStep& step = program.steps[i];
        text += "    KeyRange " + range_name(static_cast<int32_t>(i)) + " = ";
        switch (step.kind) {
        case RangeStep::Kind::unknown: text += "range_unknown(n)"; break;
        case RangeStep::Kind::condition: text += "range_condition(" + node_name(step.node) + ", n)"; break;
        case RangeStep::Kind::both: text += "range_and(" + range_name(step.a) + ", " + range_name(step.b) + ")"; break;
        case RangeStep::Kind::either: text += "range_or(" + range_name(step.a) + ", " + range_name(step.b) + ")"; break;
        case RangeStep::Kind::complement: text += "range_not(" + range_name(step.a) + ", n)"; break;
        case RangeStep::Kind::choose:
            text +=
                "range_select(" + node_name(step.node) + ", " + range_name(step.a) + ", " + range_name(step.b) + ")";
            break;
        case RangeStep::Kind::compare: {
            compares = true;
            std::string bounds = std::string(bounds_function(step.relation)) + "(" + value_name(step.bound) + ")";
            bounds = solved(program, bounds, step.outer, "KEY_RANGE_MAX_OFFSET");
            if (step.divisor >= 0) {
                std::string divisor = node_name(step.divisor);
                if (step.divisor_is_shift) divisor = "1 << min(" + divisor + " & 31, 30)";
                bounds = "bounds_times(" + bounds + ", " + divisor + ")";
                bounds = solved(program, bounds, step.inner, "KEY_RANGE_MAX_LENGTH");
            }
            text += "range_of(" + bounds + ", n)";
            break;
        }
        }
        text += ";\n";
    }
    const std::string result = range_name(static_cast<int32_t>(program.steps.size()) - 1);
    if (!compares) return text + "    return " + result + ";\n";
    return text + "    bool in_limits = n <= KEY_RANGE_MAX_LENGTH && params.q_len <= KEY_RANGE_MAX_LENGTH;\n" +
           "    return range_select(in_limits, " + result + ", range_unknown(n));\n";
}

}  // namespace vkattn::detail
