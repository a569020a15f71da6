#include "description.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "command.h"
#include "support/file.h"

namespace vkattn::cli {
namespace {

using support::DType;
using support::Tensor;

constexpr uint64_t max_text_file_bytes = 1u << 20;  // the parser's own limit is lower and has its own message

Status bad(std::string message) { return error(Code::invalid_argument, std::move(message)); }

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view blanks = " \t\r\n";
    const size_t first = text.find_first_not_of(blanks);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

Result<std::string> text_or_file(std::string_view flag, const std::string& text) {
    if (!text.starts_with('@')) return text;
    auto bytes = support::read_file(text.substr(1), max_text_file_bytes);
    if (!bytes) return bad(std::string(flag) + ": " + bytes.status().message);
    const std::string_view whole(reinterpret_cast<const char*>(bytes->data()), bytes->size());
    return std::string(trimmed(whole));
}

// The message's "column N" shown under the text, where that helps.
Status text_error(std::string_view flag, const std::string& text, const Status& status) {
    Status shown = about(flag, status);
    const size_t at = status.message.find("column ");
    const bool one_line = std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
    if (at == std::string::npos || !one_line || text.size() > 160) return shown;
    const auto column = std::strtoul(status.message.c_str() + at + 7, nullptr, 10);
    if (column < 1 || column > text.size() + 1) return shown;
    shown.message += "\n    " + text + "\n    " + std::string(column - 1, ' ') + "^";
    return shown;
}

Result<Scalar> parse_scalar(const std::string& text) {
    if (text == "true" || text == "false") return Scalar(int32_t{text == "true" ? 1 : 0});
    const bool whole = !text.empty() &&
                       text.find_first_not_of("0123456789", text[0] == '-' ? 1 : 0) == std::string::npos && text != "-";
    if (whole) {
        const auto value =
            parse_integer(text, std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max());
        if (!value) return value.status();
        return Scalar(static_cast<int32_t>(*value));
    }
    char* end = nullptr;
    const bool number_begins =
        !text.empty() && std::string_view("+-.0123456789infINF").find(text[0]) != std::string_view::npos;
    const float value = std::strtof(text.c_str(), &end);
    if (!number_begins || *end != '\0') return bad("'" + text + "' is no number");
    if (std::isinf(value) && text.find_first_of("0123456789") != std::string::npos)
        return bad("'" + text + "' is too large for a 32-bit float");
    return Scalar(value);
}

Status parse_params(const std::vector<std::string>& params, Bindings& bindings) {
    for (const std::string& param : params) {
        const size_t equals = param.find('=');
        if (equals == std::string::npos || equals == 0)
            return bad("--param " + param + ": name=value is wanted, as in window=128");
        const std::string name = param.substr(0, equals);
        auto value = parse_scalar(param.substr(equals + 1));
        if (!value) return about("--param " + name, value.status());
        if (!bindings.scalars.emplace(name, *value).second) return bad("--param " + name + ": it is given twice");
    }
    return {};
}

Type table_type(DType dtype) {
    switch (dtype) {
    case DType::boolean: return Type::boolean;
    case DType::i32:
    case DType::i64:
    case DType::u8: return Type::i32;
    case DType::f32:
    case DType::f16:
    case DType::bf16: return Type::f32;
    case DType::f64:
    case DType::i16:
    case DType::i8:
    case DType::u64:
    case DType::u32:
    case DType::u16:
    case DType::f8_e5m2:
    case DType::f8_e4m3:
    case DType::other: return Type::f32;  // refused by convert when the text names it
    }
    return Type::f32;
}

Result<TableData> convert(const Tensor& tensor) {
    TableData table;
    table.type = table_type(tensor.dtype);
    table.dims = tensor.shape;
    switch (table.type) {
    case Type::boolean: {
        auto values = support::to_bool(tensor);
        if (!values) return values.status();
        table.boolean = std::move(*values);
        break;
    }
    case Type::i32: {
        auto values = support::to_i32(tensor);
        if (!values) return values.status();
        table.i32 = std::move(*values);
        break;
    }
    case Type::f32: {
        auto values = support::to_f32(tensor);
        if (!values)
            return bad("tensor '" + tensor.name + "' is of type " + tensor.dtype_text +
                       "; a table is of I32, I64, U8, BOOL, F32, F16 or BF16");
        table.f32 = std::move(*values);
        break;
    }
    }
    return table;
}

Scalar scalar_of(const TableData& table) {
    switch (table.type) {
    case Type::boolean: return Scalar(int32_t{table.boolean[0]});
    case Type::i32: return Scalar(table.i32[0]);
    case Type::f32: return Scalar(table.f32[0]);
    }
    return Scalar(0);
}

// What the two texts may name. A --param that is a whole number is i32 in a mask; in a score mod it stays undeclared, so that the place
// decides (an f32 as a rule).
class Names {
  public:
    Names(const support::Safetensors* file, std::span<const std::string_view> reserved, const Bindings& given) {
        in_mask_.closed = true;
        for (const auto& [name, value] : given.scalars) {
            const bool is_float = std::holds_alternative<float>(value);
            in_mask_.params.push_back({name, is_float ? Type::f32 : Type::i32});
            if (is_float) in_score_mod_.params.push_back({name, Type::f32});
        }
        if (file == nullptr) return;
        for (const Tensor& tensor : file->tensors()) {
            if (std::find(reserved.begin(), reserved.end(), tensor.name) != reserved.end()) continue;
            tensors_.push_back(&tensor);
            const Type type = table_type(tensor.dtype);
            const bool is_scalar = tensor.count() == 1 && given.scalars.count(tensor.name) == 0;
            for (Declarations* names : {&in_mask_, &in_score_mod_}) {
                if (is_scalar) names->params.push_back({tensor.name, type == Type::f32 ? Type::f32 : Type::i32});
                if (!tensor.shape.empty() && tensor.shape.size() <= 4)
                    names->tables.push_back({tensor.name, type, static_cast<uint8_t>(tensor.shape.size())});
            }
        }
    }

    const Declarations& in_mask() const { return in_mask_; }
    const Declarations& in_score_mod() const { return in_score_mod_; }
    const Tensor* find(std::string_view name) const {
        const auto found =
            std::find_if(tensors_.begin(), tensors_.end(), [&](const Tensor* t) { return t->name == name; });
        return found == tensors_.end() ? nullptr : *found;
    }

  private:
    std::vector<const Tensor*> tensors_;
    Declarations in_mask_, in_score_mod_;
};

// Values for what a parsed text names.
Status bind_names(std::string_view flag, const Tree& tree, const Names& names, Bindings& bindings) {
    for (const ParamRef& param : tree.params) {
        if (bindings.scalars.count(param.name) != 0) continue;
        const Tensor* tensor = names.find(param.name);
        if (tensor == nullptr)
            return bad(std::string(flag) + ": '" + param.name + "' has no value; give --param " + param.name +
                       "=..., or a tensor of that name");
        if (tensor->count() != 1)
            return bad(std::string(flag) + ": '" + param.name + "' is used as a scalar, but the tensor is " +
                       tensor->shape_text());
        auto table = convert(*tensor);
        if (!table) return about(flag, table.status());
        bindings.scalars[param.name] = scalar_of(*table);
    }
    for (const TableRef& table : tree.tables) {
        if (table.captured != nullptr || bindings.tables.count(table.name) != 0) continue;
        const Tensor* tensor = names.find(table.name);
        if (tensor == nullptr)
            return bad(std::string(flag) + ": there is no tensor named '" + table.name + "' for the table");
        auto data = convert(*tensor);
        if (!data) return about(flag, data.status());
        bindings.tables[table.name] = std::make_shared<TableData>(std::move(*data));
    }
    return {};
}

bool is_named(const Tree& tree, const std::string& name) {
    return std::any_of(tree.params.begin(), tree.params.end(), [&](const ParamRef& p) { return p.name == name; });
}

}  // namespace

Result<Description> describe(const DescriptionText& text, const support::Safetensors* file,
                             std::span<const std::string_view> reserved) {
    Description description;
    auto mask_text = text_or_file("--mask", text.mask);
    if (!mask_text) return mask_text.status();
    auto score_text = text_or_file("--score", text.score);
    if (!score_text) return score_text.status();
    if (Status status = parse_params(text.params, description.bindings); !status.ok()) return status;

    const Names names(file, reserved, description.bindings);
    auto mask = parse_mask(*mask_text, names.in_mask());
    if (!mask) return text_error("--mask", *mask_text, mask.status());
    auto score_mod = parse_score_mod(*score_text, names.in_score_mod());
    if (!score_mod) return text_error("--score", *score_text, score_mod.status());
    for (const auto& [name, value] : description.bindings.scalars)
        if (!is_named(mask->tree(), name) && !is_named(score_mod->tree(), name))
            return bad("--param " + name + ": nothing in the mask or the score mod is named '" + name + "'");
    if (Status status = bind_names("--mask", mask->tree(), names, description.bindings); !status.ok()) return status;
    if (Status status = bind_names("--score", score_mod->tree(), names, description.bindings); !status.ok())
        return status;

    description.mask = std::move(*mask);
    description.score_mod = std::move(*score_mod);
    description.mask_text = std::move(*mask_text);
    description.score_text = std::move(*score_text);
    return description;
}

}  // namespace vkattn::cli
