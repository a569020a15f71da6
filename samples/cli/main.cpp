// vkattn: attention with described masks, from the command line.
#include <CLI/CLI.hpp>
#include <vulkan/vulkan_core.h>

#include "command.h"
#include "run_time_compiler.h"

namespace vkattn::cli {
namespace {

int print_version() {
    std::printf("vkattn %s\n", VKATTN_CLI_VERSION);
    const auto compiler = make_run_time_compiler();
    std::printf("run-time compiler: %s\n", compiler != nullptr ? compiler->version().c_str()
                                           : has_run_time_compiler()
                                               ? "shaderc, which does not start"
                                               : "none (only masks whose shaders were built ahead of time)");
    std::printf("Vulkan headers: %d.%d.%d\n", static_cast<int>(VK_API_VERSION_MAJOR(VK_HEADER_VERSION_COMPLETE)),
                static_cast<int>(VK_API_VERSION_MINOR(VK_HEADER_VERSION_COMPLETE)),
                static_cast<int>(VK_API_VERSION_PATCH(VK_HEADER_VERSION_COMPLETE)));
    return exit_ok;
}

int usage_failed(const CLI::App& app, const CLI::ParseError& problem, std::string_view first) {
    const std::vector<CLI::App*> called = app.get_subcommands();
    if (called.empty() && !first.empty() && first.front() != '-')
        return usage_error("there is no command '" + std::string(first) +
                           "'; the commands are devices, run, mask, tune and version");
    const std::string command = called.empty() ? "vkattn" : "vkattn " + called.front()->get_name();
    return usage_error(std::string(problem.what()) + "\nTry '" + command + " --help'.");
}

int run_program(int argc, char** argv) {
    CLI::App app("Attention on every GPU that speaks Vulkan: you describe which pairs attend, vkattn compiles it.",
                 "vkattn");
    app.get_formatter()->column_width(32);
    app.get_formatter()->enable_footer_formatting(false);
    app.require_subcommand(1);
    app.footer("Examples:\n"
               "  vkattn devices\n"
               "  vkattn mask --mask 'causal() && sliding_window(200)' --q-len 1024 --kv-len 1024\n"
               "  vkattn run --in qkv.safetensors --out o.safetensors --mask 'causal()' --check\n"
               "  vkattn run --random 1x8x1024x64 --mask 'document(ids)' --in tables.safetensors --repeat 10\n"
               "  vkattn tune --table tuned.txt --budget 300\n"
               "\n'vkattn COMMAND --help' explains a command, with all named masks.\n"
               "Exit codes: 0 done; 1 a wrong result, or something failed; 2 bad usage, or bad input text or files.");
    Action action;
    add_devices(app, action);
    add_run(app, action);
    add_mask(app, action);
    add_tune(app, action);
    app.add_subcommand("version", "Print vkattn's version and what it was built with")->callback([&] {
        action = print_version;
    });
    app.set_version_flag("--version", std::string("vkattn ") + VKATTN_CLI_VERSION);
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& help) { return app.exit(help); } catch (const CLI::ParseError& problem) {
        return usage_failed(app, problem, argc > 1 ? argv[1] : "");
    }
    return action();
}

}  // namespace
}  // namespace vkattn::cli

int main(int argc, char** argv) {
    try {
        return vkattn::cli::run_program(argc, argv);
    } catch (const std::bad_alloc&) {
        std::fputs("vkattn: there is not enough memory for this\n", stderr);
        return vkattn::cli::exit_failed;
    }
}
