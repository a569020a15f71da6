#include "vkattn/shaderc_compiler.h"

#include <filesystem>
#include <mutex>
#include <system_error>

#include <shaderc/shaderc.h>
#if defined(__unix__) || defined(__APPLE__)
#include <dlfcn.h>
#endif

namespace vkattn {
namespace {

struct ReleaseOptions {
    void operator()(shaderc_compile_options_t options) const { shaderc_compile_options_release(options); }
};
struct ReleaseResult {
    void operator()(shaderc_compilation_result_t result) const { shaderc_result_release(result); }
};
using Options = std::unique_ptr<shaderc_compile_options, ReleaseOptions>;
using Compilation = std::unique_ptr<shaderc_compilation_result, ReleaseResult>;

constexpr std::string_view hook_name = "mask_hook.glsl";
// Deeper includes than any of ours: a file that includes itself without a guard must end in an error.
constexpr size_t max_include_depth = 32;

// An answer to one #include. shaderc reads `answer` until it calls release; an empty source_name means "not found".
struct Include {
    std::string name;
    std::string content;
    shaderc_include_result answer{};
};

shaderc_include_result* resolve_include(void* user_data, const char* requested, int, const char* requesting,
                                        size_t depth) {
    const CompileJob& job = *static_cast<const CompileJob*>(user_data);
    Include* include = new Include;
    if (depth > max_include_depth) {
        include->content = std::string("includes are nested too deeply at \"") + requested + "\"";
    } else if (requested == hook_name && !job.hook.empty()) {
        include->name = requested;
        include->content = job.hook;
    } else {
        const auto found = job.includes ? job.includes->find(std::string_view(requested)) : SourceSet::const_iterator();
        if (job.includes && found != job.includes->end()) {
            include->name = requested;
            include->content = found->second;
        } else {
            include->content = std::string("no include \"") + requested + "\" (asked for by " + requesting + ")";
        }
    }
    include->answer.source_name = include->name.data();
    include->answer.source_name_length = include->name.size();
    include->answer.content = include->content.data();
    include->answer.content_length = include->content.size();
    include->answer.user_data = include;
    return &include->answer;
}

void release_include(void*, shaderc_include_result* answer) { delete static_cast<Include*>(answer->user_data); }

// shaderc has no version call, and to compile something for its generator word costs a process tens of milliseconds. The file that
// shaderc lies in does as well: another one has another size or time. Empty where the system does not say.
std::string library_identity() {
#if defined(__unix__) || defined(__APPLE__)
    Dl_info info{};
    if (dladdr(reinterpret_cast<const void*>(&shaderc_compile_into_spv), &info) == 0 || info.dli_fname == nullptr)
        return {};
    std::error_code failed;
    const auto bytes = std::filesystem::file_size(info.dli_fname, failed);
    if (failed) return {};
    const auto written = std::filesystem::last_write_time(info.dli_fname, failed);
    if (failed) return {};
    return std::string(info.dli_fname) + ", " + std::to_string(bytes) + " bytes of " +
           std::to_string(written.time_since_epoch().count());
#else
    return {};
#endif
}

class ShadercCompiler final : public ShaderCompiler {
  public:
    explicit ShadercCompiler(shaderc_compiler_t compiler) : compiler_(compiler) {}
    ~ShadercCompiler() override { shaderc_compiler_release(compiler_); }
    ShadercCompiler(const ShadercCompiler&) = delete;
    ShadercCompiler& operator=(const ShadercCompiler&) = delete;

    Result<std::vector<uint32_t>> compile(const CompileJob& job) const override {
        shaderc_env_version environment = shaderc_env_version_vulkan_1_1;
        if (job.vulkan_minor == 2) {
            environment = shaderc_env_version_vulkan_1_2;
        } else if (job.vulkan_minor == 3) {
            environment = shaderc_env_version_vulkan_1_3;
        } else if (job.vulkan_minor != 1) {
            return error(Code::invalid_argument, job.name + ": vulkan_minor is " + std::to_string(job.vulkan_minor) +
                                                     ", it must be 1, 2 or 3.");
        }
        // Without a version glslang takes its oldest and, failing on that, prints its built-ins on stdout.
        if (job.source.find("#version 4") == std::string::npos || job.source.find('\0') != std::string::npos) {
            return error(Code::compile_failed,
                         job.name + " does not compile: it needs a line \"#version 450\" and no NUL.");
        }
        const Options options(shaderc_compile_options_initialize());
        if (!options) return error(Code::compile_failed, job.name + ": the shader compiler is out of memory.");
        shaderc_compile_options_set_target_env(options.get(), shaderc_target_env_vulkan,
                                               static_cast<uint32_t>(environment));
        shaderc_compile_options_set_optimization_level(options.get(), job.optimise == Optimise::performance
                                                                          ? shaderc_optimization_level_performance
                                                                          : shaderc_optimization_level_zero);
        for (const auto& [name, value] : job.defines) {
            shaderc_compile_options_add_macro_definition(options.get(), name.data(), name.size(), value.data(),
                                                         value.size());
        }
        // The callback only reads the job.
        shaderc_compile_options_set_include_callbacks(options.get(), resolve_include, release_include,
                                                      const_cast<CompileJob*>(&job));
        const Compilation result(shaderc_compile_into_spv(compiler_, job.source.data(), job.source.size(),
                                                          shaderc_glsl_compute_shader, job.name.c_str(), "main",
                                                          options.get()));
        if (!result) return error(Code::compile_failed, job.name + ": the shader compiler is out of memory.");
        if (shaderc_result_get_compilation_status(result.get()) != shaderc_compilation_status_success) {
            return error(Code::compile_failed,
                         job.name + " does not compile:\n" + shaderc_result_get_error_message(result.get()));
        }
        const size_t bytes = shaderc_result_get_length(result.get());
        const uint32_t* words = reinterpret_cast<const uint32_t*>(shaderc_result_get_bytes(result.get()));
        return std::vector<uint32_t>(words, words + bytes / sizeof(uint32_t));
    }

    std::string version() const override {
        std::call_once(version_once_, [this] {
            unsigned int version = 0;
            unsigned int revision = 0;
            shaderc_get_spv_version(&version, &revision);
            version_ = "shaderc, SPIR-V " + std::to_string(version) + "." + std::to_string(revision) + ", ";
            const std::string library = library_identity();
            version_ += library.empty() ? "generator " + std::to_string(generator()) : library;
        });
        return version_;
    }

  private:
    // The generator word of a module carries glslang's version, which is what changes the words.
    uint32_t generator() const {
        CompileJob job;
        job.name = "version.comp";
        job.source = "#version 450\nvoid main() {}\n";
        const Result<std::vector<uint32_t>> module = compile(job);
        return module && module->size() > 2 ? (*module)[2] : 0;
    }

    shaderc_compiler_t compiler_;
    mutable std::once_flag version_once_;
    mutable std::string version_;
};

}  // namespace

std::unique_ptr<ShaderCompiler> make_shaderc_compiler() {
    shaderc_compiler_t compiler = shaderc_compiler_initialize();
    if (!compiler) return nullptr;
    return std::make_unique<ShadercCompiler>(compiler);
}

}  // namespace vkattn
