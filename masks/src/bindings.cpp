#include "vkattn/bindings.h"

#include <bit>
#include <limits>
#include <utility>

namespace vkattn {

namespace {

const char* type_name(Type type) {
    switch (type) {
    case Type::boolean: return "bool";
    case Type::i32: return "i32";
    case Type::f32: return "f32";
    }
    return "";
}

Status invalid(std::string message) { return error(Code::invalid_argument, std::move(message)); }

std::string list_of(const std::vector<std::string>& names) {
    if (names.empty()) return "none";
    std::string text;
    for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
    return text;
}

template <class Map>
std::string names_in(const Map& map) {
    std::vector<std::string> names;
    for (const auto& entry : map) {
        if (names.size() == 16) {
            names.push_back("...");
            break;
        }
        names.push_back(entry.first);
    }
    return list_of(names);
}

Result<uint32_t> resolve_param(const ParamRef& param, const Bindings& bindings) {
    const auto found = bindings.scalars.find(param.name);
    if (found == bindings.scalars.end()) {
        if (param.has_default) return param.default_bits;
        return invalid("scalar '" + param.name + "' (" + type_name(param.type) +
                       ") has no value; given scalars: " + names_in(bindings.scalars));
    }
    if (const int32_t* value = std::get_if<int32_t>(&found->second)) {
        if (param.type == Type::i32) return static_cast<uint32_t>(*value);
        return std::bit_cast<uint32_t>(static_cast<float>(*value));
    }
    if (param.type != Type::f32) return invalid("scalar '" + param.name + "' is an int, but a float is given for it");
    return std::bit_cast<uint32_t>(std::get<float>(found->second));
}

Result<std::shared_ptr<const TableData>> resolve_table(const TableRef& table, const Bindings& bindings,
                                                       bool may_be_empty) {
    const auto found = bindings.tables.find(table.name);
    const auto& data = found == bindings.tables.end() ? table.captured : found->second;
    const std::string wanted = std::string(type_name(table.type)) + " with " + std::to_string(table.n_dims) +
                               (table.n_dims == 1 ? " dimension" : " dimensions");
    if (!data) {
        return invalid("table '" + table.name + "' (" + wanted +
                       ") has no data; given tables: " + names_in(bindings.tables));
    }
    if (Status status = check(*data, table.name); !status.ok()) return status;
    if (data->type != table.type || data->dims.size() != table.n_dims) {
        return invalid("table '" + table.name + "' must be " + wanted + ", but is " + type_name(data->type) + " with " +
                       std::to_string(data->dims.size()));
    }
    if (data->count() == 0 && !may_be_empty) {
        return invalid("table '" + table.name + "' is indexed, but has no elements (a dimension is 0)");
    }
    return data;
}

}  // namespace

Status check(const Shape& shape) {
    const auto wrong = [](const char* name, int32_t value, const char* wanted) {
        return invalid(std::string(name) + " is " + std::to_string(value) + ", it must be " + wanted);
    };
    if (shape.batch < 1) return wrong("batch", shape.batch, "at least 1");
    if (shape.q_heads < 1) return wrong("q_heads", shape.q_heads, "at least 1");
    if (shape.kv_heads < 1) return wrong("kv_heads", shape.kv_heads, "at least 1");
    if (shape.q_heads % shape.kv_heads != 0) {
        return wrong("q_heads", shape.q_heads,
                     ("a multiple of kv_heads (" + std::to_string(shape.kv_heads) + ")").c_str());
    }
    if (shape.q_len < 0) return wrong("q_len", shape.q_len, "at least 0");
    if (shape.kv_len < 0) return wrong("kv_len", shape.kv_len, "at least 0");
    return {};
}

Status check(const TableData& table, std::string_view name) {
    const std::string who = "table '" + std::string(name) + "'";
    if (table.dims.empty() || table.dims.size() > 4) {
        return invalid(who + " has " + std::to_string(table.dims.size()) + " dimensions, it must have 1 to 4");
    }
    constexpr int64_t max_count = std::numeric_limits<int32_t>::max();
    bool empty = false;
    for (const int64_t dim : table.dims) {
        if (dim < 0) return invalid(who + " has the dimension " + std::to_string(dim) + ", it must be at least 0");
        empty = empty || dim == 0;
    }
    int64_t count = empty ? 0 : 1;
    for (const int64_t dim : table.dims) {
        // Each factor is at most 2^31 - 1 before it is multiplied, so that the product fits.
        if (dim > max_count || count * dim > max_count) {
            return error(Code::limit_exceeded, who + " has more than 2147483647 elements");
        }
        count *= dim;
    }
    const auto given = [&] {
        switch (table.type) {
        case Type::boolean: return table.boolean.size();
        case Type::i32: return table.i32.size();
        case Type::f32: return table.f32.size();
        }
        return size_t{0};
    }();
    if (given != static_cast<size_t>(count)) {
        return invalid(who + " has dimensions for " + std::to_string(count) + " elements of type " +
                       type_name(table.type) + ", but holds " + std::to_string(given));
    }
    return {};
}

Result<ResolvedBindings> resolve(const Tree& tree, const Bindings& bindings) {
    return resolve(tree, bindings, Shape{1, 1, 1, 1, 1});
}

Result<ResolvedBindings> resolve(const Tree& tree, const Bindings& bindings, const Shape& shape) {
    const bool nothing_is_read = shape.q_len == 0 || shape.kv_len == 0;
    ResolvedBindings resolved;
    for (const ParamRef& param : tree.params) {
        Result<uint32_t> bits = resolve_param(param, bindings);
        if (!bits) return bits.status();
        resolved.params.push_back(*bits);
    }
    for (const TableRef& table : tree.tables) {
        auto data = resolve_table(table, bindings, nothing_is_read);
        if (!data) return data.status();
        resolved.tables.push_back(std::move(*data));
    }
    return resolved;
}

}  // namespace vkattn
