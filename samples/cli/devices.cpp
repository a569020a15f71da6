// vkattn devices: what there is, best first, and what each can do.
#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "command.h"
#include "support/device.h"
#include "support/file.h"

namespace vkattn::cli {
namespace {

struct Options {
    std::string json_file;
};

int list(const Options& options) {
    auto instance = support::Instance::create();
    if (!instance) return fail(instance.status());
    nlohmann::ordered_json report = nlohmann::ordered_json::array();
    const std::vector<DeviceInfo>& devices = (*instance)->devices();
    for (size_t i = 0; i < devices.size(); i++) {
        const DeviceInfo& device = devices[i];
        std::printf("%zu: %s\n   %s, Vulkan %s, %s\n", i, device.name.c_str(), support::kind_text(device.type),
                    support::version_text(device.api_version).c_str(), device.driver.c_str());
        auto wanted = requirements((*instance)->handle(), (*instance)->get_instance_proc_addr(), device.handle);
        if (!wanted) return fail(about(device.name, wanted.status()));
        std::vector<std::string> paths{"scalar"};
        if (wanted->features.cooperative_matrix) paths.push_back("khr");
        if (wanted->features.cooperative_matrix2) paths.push_back("nv");
        std::string names;
        for (const std::string& path : paths) names += path + ", ";
        if (wanted->features.workgroup_matrices) names.insert(names.size() - 2, " (also on matrices of workgroups)");
        std::printf("   paths: %s%s\n", names.c_str(),
                    wanted->features.buffer_device_address ? "by addresses or descriptors" : "by descriptors");
        for (const std::string& reason : wanted->reasons) std::printf("   - %s\n", reason.c_str());
        report.push_back({{"index", i},
                          {"device", device.name},
                          {"driver", device.driver},
                          {"kind", support::kind_text(device.type)},
                          {"api_version", support::version_text(device.api_version)},
                          {"paths", paths},
                          {"workgroup_matrices", wanted->features.workgroup_matrices},
                          {"buffer_device_address", wanted->features.buffer_device_address},
                          {"reasons", wanted->reasons}});
    }
    if (!options.json_file.empty()) {
        const std::string text = report.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
        if (Status status = support::write_file(options.json_file, text); !status.ok())
            return fail(about("--json", status));
    }
    if (devices.empty())
        return fail(error(Code::unsupported,
                          "no device of Vulkan 1.1 or later on this machine; install your GPU's driver, or a software "
                          "driver such as Mesa's lavapipe"));
    return exit_ok;
}

}  // namespace

void add_devices(CLI::App& app, Action& action) {
    auto options = std::make_shared<Options>();
    CLI::App* command = app.add_subcommand("devices", "List the Vulkan devices, best first, and what each can do");
    command->add_option("--json", options->json_file, "Also write the list to this file")->type_name("F");
    command->footer(
        "The number before a device, a part of its name, or a kind (gpu, discrete, integrated, cpu) is what\n"
        "'vkattn run --device' takes. Without it, the first device is used.");
    command->callback([options, &action] { action = [options] { return list(*options); }; });
}

}  // namespace vkattn::cli
