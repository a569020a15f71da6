// The run-time compiler: what it may include, what its errors say, and that it works on several threads at once.
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "vkattn/shaderc_compiler.h"

using namespace vkattn;

namespace {

constexpr uint32_t spirv_magic = 0x07230203u;

const char* kernel = R"(#version 450
#extension GL_GOOGLE_include_directive : require
#include "mask_hook.glsl"
layout(local_size_x = 1) in;
layout(std430, binding = 0) buffer O { uint o[]; };
void main() { o[0] = hook() + WIDTH; }
)";

CompileJob make_job(const SourceSet& includes) {
    CompileJob job;
    job.name = "test.comp";
    job.source = kernel;
    job.defines = {{"WIDTH", "7u"}};
    job.includes = &includes;
    return job;
}

std::string failure(const CompileJob& job) {
    const Result<std::vector<uint32_t>> result = make_shaderc_compiler()->compile(job);
    REQUIRE_FALSE(result.ok());
    return result.status().message;
}

bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_SUITE("compiler") {

    TEST_CASE("a hook replaces the include of its name; equal jobs give equal words") {
        const SourceSet includes = {{"mask_hook.glsl", "uint hook() { return 1u; }\n"}};
        const auto compiler = make_shaderc_compiler();
        REQUIRE(compiler);
        CompileJob job = make_job(includes);
        const Result<std::vector<uint32_t>> on_disk = compiler->compile(job);
        REQUIRE_MESSAGE(on_disk.ok(), on_disk.status().message);
        CHECK(on_disk->front() == spirv_magic);
        job.hook = "uint hook() { return 2u; }\n";
        const Result<std::vector<uint32_t>> swapped = compiler->compile(job);
        REQUIRE(swapped.ok());
        CHECK(*swapped != *on_disk);
        CHECK(*swapped == *make_shaderc_compiler()->compile(job));
        job.optimise = Optimise::none;
        const Result<std::vector<uint32_t>> plain = compiler->compile(job);
        REQUIRE(plain.ok());
        CHECK(plain->size() > swapped->size());
        CHECK(compiler->version() == make_shaderc_compiler()->version());
        CHECK(compiler->version().size() > 20);
    }

    TEST_CASE("the Vulkan version of the job is the module's") {
        const SourceSet includes = {{"mask_hook.glsl", "uint hook() { return 1u; }\n"}};
        CompileJob job = make_job(includes);
        std::vector<uint32_t> spirv_versions;
        for (const int32_t minor : {1, 2, 3}) {
            job.vulkan_minor = minor;
            const Result<std::vector<uint32_t>> module = make_shaderc_compiler()->compile(job);
            REQUIRE(module.ok());
            spirv_versions.push_back((*module)[1]);
        }
        CHECK(spirv_versions == std::vector<uint32_t>{0x10300, 0x10500, 0x10600});
        job.vulkan_minor = 4;
        CHECK(make_shaderc_compiler()->compile(job).status().code == Code::invalid_argument);
    }

    TEST_CASE("errors name the file, the line and what is missing") {
        SourceSet includes;
        CompileJob job = make_job(includes);
        CHECK(has(failure(job), "no include \"mask_hook.glsl\" (asked for by test.comp)"));
        job.includes = nullptr;
        CHECK(has(failure(job), "no include \"mask_hook.glsl\""));
        job.hook = "uint hook() { return undeclared_thing; }\n";
        CHECK(has(failure(job), "undeclared_thing"));
        CHECK(has(failure(job), "mask_hook.glsl:1"));
        job.hook = "#include \"mask_hook.glsl\"\n";  // itself, without end
        CHECK(has(failure(job), "nested too deeply"));
        job.hook = "#include \"/etc/passwd\"\n";  // the disk is never looked at
        CHECK(has(failure(job), "no include \"/etc/passwd\""));
        job.hook.clear();
        job.source = "#version 450\nnot GLSL at all";
        CHECK(has(failure(job), "test.comp:2"));
        job.source = std::string("#version 450\nvoid main() {} \0", 30);
        CHECK(has(failure(job), "no NUL"));
        job.source = "void main() {}";
        CHECK(has(failure(job), "test.comp does not compile"));
        job.source = "";
        CHECK(has(failure(job), "test.comp does not compile"));
    }

    TEST_CASE("one compiler serves several threads") {
        const SourceSet includes = {{"mask_hook.glsl", "uint hook() { return 1u; }\n"}};
        const auto compiler = make_shaderc_compiler();
        const Result<std::vector<uint32_t>> expected = compiler->compile(make_job(includes));
        REQUIRE(expected.ok());
        std::vector<int> wrong(4, 0);
        std::vector<std::thread> threads;
        for (size_t t = 0; t < wrong.size(); ++t) {
            threads.emplace_back([&, t] {
                for (int i = 0; i < 8; ++i) {
                    const Result<std::vector<uint32_t>> module = compiler->compile(make_job(includes));
                    if (!module.ok() || *module != *expected) ++wrong[t];
                }
            });
        }
        for (std::thread& thread : threads) thread.join();
        for (const int count : wrong) CHECK(count == 0);
    }

}  // TEST_SUITE
