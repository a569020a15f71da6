#include "attention_options.h"

#include "checks.h"

namespace vkattn::cli {
namespace {

// An option whose value is one of `values` under its to_string name; `automatic` is called auto.
template <class Enum>
CLI::Option* add_choice(CLI::App& app, const std::string& flag, Enum& chosen, std::vector<Enum> values,
                        const std::string& meaning) {
    const auto name_of = [](Enum value) {
        const std::string name(to_string(value));
        return name == "automatic" ? std::string("auto") : name;
    };
    std::vector<std::string> names;
    std::string type_name;
    for (const Enum value : values) {
        names.push_back(name_of(value));
        type_name += (type_name.empty() ? "" : "|") + names.back();
    }
    const auto choose = [&chosen, values, name_of](const std::string& name) {
        for (const Enum value : values)
            if (name_of(value) == name) chosen = value;
    };
    return app.add_option_function<std::string>(flag, choose, meaning)->check(one_of(names))->type_name(type_name);
}

}  // namespace

CLI::Option* add_type_option(CLI::App& app, ElementType& type, const std::string& meaning) {
    return add_choice(app, "--type", type, {ElementType::f32, ElementType::f16, ElementType::bf16}, meaning);
}

CLI::Option* add_path_option(CLI::App& app, Path& path, const std::string& meaning) {
    return add_choice(app, "--path", path, {Path::automatic, Path::scalar, Path::khr, Path::nv}, meaning);
}

CLI::Option* add_schedule_option(CLI::App& app, Schedule& schedule, const std::string& meaning) {
    return add_choice(app, "--schedule", schedule,
                      {Schedule::automatic, Schedule::dense, Schedule::interval, Schedule::list}, meaning);
}

CLI::Option* add_param_option(CLI::App& app, std::vector<std::string>& params, const std::string& meaning) {
    return app.add_option("--param", params, meaning)->type_name("name=value")->allow_extra_args(false);
}

CLI::Option* add_block_option(CLI::App& app, std::string& block, const std::string& meaning) {
    return app.add_option("--block", block, meaning)->type_name("128x128");
}

CLI::Option* add_device_option(CLI::App& app, std::string& device) {
    return app
        .add_option("--device", device,
                    "Number, kind or part of the name of a device, see 'vkattn devices' [the first]")
        ->type_name("N|NAME");
}

CLI::Option* add_tuning_option(CLI::App& app, std::string& tuning) {
    return app
        .add_option("--tuning", tuning, "Kernels and sizes that 'vkattn tune --table F' found on this device [none]")
        ->type_name("F");
}

CLI::Option* add_cache_option(CLI::App& app, std::string& cache) {
    return app.add_option("--cache", cache, "Folder of compiled shaders, or none [the user's cache folder]")
        ->type_name("DIR|none");
}

}  // namespace vkattn::cli
