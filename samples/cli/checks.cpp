#include "checks.h"

#include <algorithm>

#include "command.h"

namespace vkattn::cli {

CLI::Validator one_of(std::vector<std::string> names) {
    return CLI::Validator(
        [names = std::move(names)](const std::string& value) {
            if (std::find(names.begin(), names.end(), value) != names.end()) return std::string();
            std::string message = "'" + value + "' is none of";
            for (const std::string& name : names) message += (&name == &names.front() ? " " : ", ") + name;
            return message;
        },
        "");
}

CLI::Validator whole_number(int64_t low, int64_t high) {
    return CLI::Validator(
        [low, high](const std::string& value) {
            const auto number = parse_integer(value, low, high);
            return number ? std::string() : number.status().message;
        },
        "");
}

}  // namespace vkattn::cli
