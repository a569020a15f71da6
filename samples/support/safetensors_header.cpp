// parse_header: nlohmann's event parser drives a small state machine.
#include "support/safetensors_header.h"

#include <set>

#include <nlohmann/json.hpp>

namespace vkattn::support {
namespace {

// Where in {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, "__metadata__": {"key": "text"}} the parser stands.
enum class State : uint8_t {
    before,
    names,
    entry,
    dtype,
    shape_open,
    shape,
    offsets_open,
    offsets,
    metadata_open,
    metadata,
    after
};

constexpr size_t max_dims =
    64;  // no tensor has that many; without a limit a shape would take more memory than its text

std::string shown(std::string_view text) {
    constexpr size_t limit = 80;
    std::string result = "'";
    for (const char c : text.substr(0, limit)) result += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
    return result + (text.size() > limit ? "...'" : "'");
}

class HeaderEvents : public nlohmann::json_sax<nlohmann::json> {
  public:
    Header header;
    Status status;

    bool null() override { return unexpected("null"); }
    bool boolean(bool) override { return unexpected("a truth value"); }
    bool number_float(number_float_t, const string_t& text) override {
        return unexpected("the number " + text.substr(0, 40));
    }
    bool binary(binary_t&) override { return unexpected("binary data"); }
    bool number_integer(number_integer_t value) override { return unexpected("the number " + std::to_string(value)); }

    bool number_unsigned(number_unsigned_t value) override {
        if (state_ == State::shape) {
            if (entry_.shape.size() == max_dims) return fail("its shape has more than 64 lengths");
            entry_.shape.push_back(value);
            return true;
        }
        if (state_ == State::offsets) {
            if (entry_.data_offsets.size() == 2) return fail("data_offsets has more than two numbers");
            entry_.data_offsets.push_back(value);
            return true;
        }
        return unexpected("the number " + std::to_string(value));
    }

    bool string(string_t& text) override {
        if (state_ == State::dtype) {
            entry_.dtype = std::move(text);
            state_ = State::entry;
            return true;
        }
        if (state_ == State::metadata && !key_.empty()) {
            header.metadata[key_] = std::move(text);
            return true;
        }
        return unexpected("the string " + shown(text));
    }

    bool start_object(size_t) override {
        if (state_ == State::before) {
            state_ = State::names;
            return true;
        }
        if (state_ == State::metadata_open) {
            state_ = State::metadata;
            return true;
        }
        if (state_ == State::names && has_name_) {
            state_ = State::entry;
            return true;
        }
        return unexpected("an object");
    }

    bool key(string_t& name) override {
        if (state_ == State::names) {
            if (!names_.insert(name).second) return fail_plain("the name " + shown(name) + " occurs twice");
            has_name_ = name != "__metadata__";
            state_ = has_name_ ? State::names : State::metadata_open;
            entry_ = HeaderEntry();
            entry_.name = std::move(name);
            has_dtype_ = has_shape_ = has_offsets_ = false;
            return true;
        }
        if (state_ == State::metadata) {
            key_ = std::move(name);
            if (key_.empty()) return fail("a key of the metadata is empty");
            return true;
        }
        if (state_ == State::entry) {
            if (name == "dtype") return once(has_dtype_, name, State::dtype);
            if (name == "shape") return once(has_shape_, name, State::shape_open);
            if (name == "data_offsets") return once(has_offsets_, name, State::offsets_open);
            return fail("it has the field " + shown(name) + "; dtype, shape and data_offsets are known");
        }
        return unexpected("the name " + shown(name));
    }

    bool end_object() override {
        if (state_ == State::entry) {
            if (!has_dtype_) return fail("it has no dtype");
            if (!has_shape_) return fail("it has no shape");
            if (!has_offsets_) return fail("it has no data_offsets");
            header.entries.push_back(std::move(entry_));
            state_ = State::names;
            has_name_ = false;
            return true;
        }
        if (state_ == State::metadata) {
            state_ = State::names;
            return true;
        }
        if (state_ == State::names) {
            state_ = State::after;
            return true;
        }
        return unexpected("the end of an object");
    }

    bool start_array(size_t) override {
        if (state_ == State::shape_open || state_ == State::offsets_open) {
            state_ = state_ == State::shape_open ? State::shape : State::offsets;
            return true;
        }
        return unexpected("an array");
    }

    bool end_array() override {
        if (state_ == State::offsets && entry_.data_offsets.size() != 2)
            return fail("data_offsets does not have two numbers");
        if (state_ != State::shape && state_ != State::offsets) return unexpected("the end of an array");
        state_ = State::entry;
        return true;
    }

    bool parse_error(size_t position, const std::string&, const nlohmann::json::exception& problem) override {
        // "[json.exception.parse_error.101] parse error at line 1, column 5: syntax error ...": the part for a person.
        std::string_view text = problem.what();
        if (const size_t colon = text.find(": "); colon != std::string_view::npos) text.remove_prefix(colon + 2);
        status = error(Code::invalid_argument, "the header is not JSON at byte " + std::to_string(position) + ": " +
                                                   std::string(text.substr(0, 200)));
        return false;
    }

  private:
    bool once(bool& seen, const std::string& field, State next) {
        if (seen) return fail("it has the field " + shown(field) + " twice");
        seen = true;
        state_ = next;
        return true;
    }
    bool fail_plain(std::string message) {
        status = error(Code::invalid_argument, std::move(message));
        return false;
    }
    bool fail(const std::string& message) {
        return fail_plain(entry_.name.empty() ? "in the header " + message
                                              : "tensor " + shown(entry_.name) + ": " + message);
    }
    bool unexpected(const std::string& what) {
        return fail("the header has " + what + " where " + wanted() + " belongs");
    }
    const char* wanted() const {
        switch (state_) {
        case State::before: return "an object of tensors";
        case State::names: return "an object with dtype, shape and data_offsets";
        case State::entry: return "dtype, shape or data_offsets";
        case State::dtype: return "a string (the dtype)";
        case State::shape_open: return "an array (the shape)";
        case State::shape: return "a length of 0 or more (of the shape)";
        case State::offsets_open: return "an array (data_offsets)";
        case State::offsets: return "a byte offset of 0 or more";
        case State::metadata_open: return "an object of strings (the metadata)";
        case State::metadata: return "a string (of the metadata)";
        case State::after: return "nothing more";
        }
        return "";
    }

    State state_ = State::before;
    HeaderEntry entry_;
    std::string key_;
    std::set<std::string> names_;
    bool has_name_ = false, has_dtype_ = false, has_shape_ = false, has_offsets_ = false;
};

}  // namespace

Result<Header> parse_header(std::string_view json) {
    HeaderEvents events;
    if (!nlohmann::json::sax_parse(json.begin(), json.end(), &events)) {
        if (events.status.ok()) return error(Code::invalid_argument, "the header is not JSON");
        return events.status;
    }
    return std::move(events.header);
}

}  // namespace vkattn::support
