// Errors are values: a Status says what went wrong, where (VkResult for device errors) and why, in words.
#pragma once

#include <cassert>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace vkattn {

enum class Code : uint8_t {
    ok,
    invalid_argument,  // the caller's value is wrong; the message names it and what would be right
    invalid_text,      // mask or score mod text does not parse or type-check; the message has the column
    limit_exceeded,    // a stated limit (bytes, nodes, device range) would be passed
    unsupported,       // this device, build or path cannot do it; the message gives the reasons
    compile_failed,    // the shader compiler refused
    device_error,      // a Vulkan call failed; vk_result says how
    io_error,          // a file could not be read or written
};

// `message` is one or more sentences for a person. `vk_result` is a VkResult, 0 unless code is device_error.
struct [[nodiscard]] Status {
    Code code = Code::ok;
    int32_t vk_result = 0;
    std::string message;

    bool ok() const { return code == Code::ok; }
    explicit operator bool() const { return ok(); }
};

inline Status error(Code code, std::string message, int32_t vk_result = 0) {
    return Status{code, vk_result, std::move(message)};
}

// A value or the Status that says why there is none. Dereferencing a failed Result is a programming error (assert).
template <class T>
class [[nodiscard]] Result {
  public:
    Result(T value) : value_(std::move(value)) {}
    Result(Status status) : status_(std::move(status)) { assert(!status_.ok()); }

    bool ok() const { return value_.has_value(); }
    explicit operator bool() const { return ok(); }
    const Status& status() const { return status_; }

    T& operator*() & {
        assert(ok());
        return *value_;
    }
    const T& operator*() const& {
        assert(ok());
        return *value_;
    }
    T&& operator*() && {
        assert(ok());
        return std::move(*value_);
    }
    T* operator->() {
        assert(ok());
        return &*value_;
    }
    const T* operator->() const {
        assert(ok());
        return &*value_;
    }

  private:
    std::optional<T> value_;
    Status status_;
};

}  // namespace vkattn
