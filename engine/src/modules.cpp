#include "modules.h"

#include <algorithm>
#include <cstring>

#include "module_name.h"
#include "vkattn/compiler.h"
#include "vkattn/hash.h"
#include "vkattn/shader_sources.h"

namespace vkattn {
namespace {

constexpr uint32_t spirv_magic = 0x07230203u;

std::string_view type_define(ElementType type) {
    switch (type) {
    case ElementType::f32: return "TYPE_F32";
    case ElementType::f16: return "TYPE_F16";
    case ElementType::bf16: return "TYPE_BF16";
    }
    return "TYPE_F32";
}

CompileJob make_job(const ModuleKey& key, const EmittedHook& hook, SourceSet& includes) {
    CompileJob job;
    job.name = key.kernel + ".comp";
    for (const ShaderSource& source : shader_sources()) {
        if (source.name == job.name) job.source = std::string(source.text);
        else includes.emplace(std::string(source.name), std::string(source.text));
    }
    job.includes = &includes;
    job.hook = hook.glsl;
    if (key.kernel == "attention_khr" || key.kernel == "attention_nv") job.optimise = Optimise::none;
    if (key.kernel == "attention_nv") job.vulkan_minor = 3;
    auto define = [&](const char* name, std::string_view value) { job.defines.emplace_back(name, std::string(value)); };
    auto flag = [](bool value) { return value ? "1" : "0"; };
    define("ADDRESSING", key.addressing == Addressing::address ? "ADDRESSING_ADDRESS" : "ADDRESSING_BINDING");
    define("ADDRESS_INT64", flag(key.address_int64));
    define("Q_TYPE", type_define(key.q_type));
    define("K_TYPE", type_define(key.k_type));
    define("V_TYPE", type_define(key.v_type));
    define("O_TYPE", type_define(key.o_type));
    define("Q_VEC4", flag(key.q_vec4));
    define("K_VEC4", flag(key.k_vec4));
    define("V_VEC4", flag(key.v_vec4));
    define("O_VEC4", flag(key.o_vec4));
    define("SUBGROUP_REDUCE", flag(key.subgroup_reduce));
    define("WORKGROUP_MATRICES", flag(key.workgroup_matrices));
    if (!key.literals.empty()) {
        define("LITERAL_SIZES", "1");
        for (const SpecConstant& constant : spec_constants) {
            uint32_t value = constant.default_value;
            for (const auto& [id, literal] : key.literals)
                if (id == constant.id) value = literal;
            job.defines.emplace_back("LITERAL_" + std::string(constant.name), std::to_string(value) + "u");
        }
    }
    return job;
}

// Everything that the SPIR-V depends on: a changed source or compiler is another key.
std::string cache_key(const CompileJob& job, const std::string& compiler_version) {
    std::string key = compiler_version + '\0' + job.name + '\0' + job.source + '\0' + job.hook + '\0';
    for (const auto& [name, value] : job.defines) key += name + '=' + value + '\0';
    for (const auto& [name, text] : *job.includes) key += name + '\0' + text + '\0';
    return hash_hex(key);
}

const AheadOfTimeModule* find_shipped(const std::string& name) {
    const auto shipped = ahead_of_time_modules();
    const auto found =
        std::lower_bound(shipped.begin(), shipped.end(), std::string_view(name),
                         [](const AheadOfTimeModule& m, std::string_view wanted) { return m.name < wanted; });
    return found != shipped.end() && found->name == name ? &*found : nullptr;
}

}  // namespace

bool is_ahead_of_time(const ModuleKey& key) { return find_shipped(module_name(key)) != nullptr; }

Result<Module> make_module(const ModuleKey& key, const EmittedHook& hook, const EngineOptions& options) {
    const std::string name = module_name(key);
    if (const AheadOfTimeModule* shipped = find_shipped(name); shipped != nullptr)
        return Module{{shipped->spirv.begin(), shipped->spirv.end()}, ModuleOrigin::ahead_of_time};

    if (options.compiler == nullptr)
        return error(Code::unsupported, "no ahead-of-time module fits this mask, its types and this device (" + name +
                                            "): give EngineOptions::compiler (make_shaderc_compiler())");
    SourceSet includes;
    const CompileJob job = make_job(key, hook, includes);
    const FileCache cache(options.cache_directory);
    const std::string hash = cache_key(job, options.compiler->version());
    if (auto bytes = cache.load("spirv", hash); bytes && bytes->size() >= 20 && bytes->size() % 4 == 0) {
        Module module{std::vector<uint32_t>(bytes->size() / 4), ModuleOrigin::disk_cache};
        std::memcpy(module.spirv.data(), bytes->data(), bytes->size());
        if (module.spirv[0] == spirv_magic) return module;
    }
    auto spirv = options.compiler->compile(job);
    if (!spirv) return spirv.status();
    std::vector<uint8_t> bytes(spirv->size() * 4);
    std::memcpy(bytes.data(), spirv->data(), bytes.size());
    cache.store("spirv", hash, bytes);  // a full disk costs the next start, not this one
    return Module{*std::move(spirv), ModuleOrigin::compiled};
}

}  // namespace vkattn
