// The library's start-up self-test: a sound device keeps its path, a wrong one is demoted to the first path that is right, in words.
#include <doctest/doctest.h>

#include "harness/pretended_device.h"
#include "harness/run_attention.h"
#include "harness/temporary_folder.h"
#include "vkattn/self_test.h"

using namespace vkattn_tests;
using vkattn::SelfTest;
using vkattn::SelfTestVerdict;
using vkattn::test::TemporaryFolder;

namespace {

constexpr std::string_view shuffle = "subgroupShuffleXor(x[r], lane)";
// Of the khr path's kernel alone.
constexpr std::string_view matrix_weight = "uvec2 words = matrix_words(weights);";

// Makes kernels in which a text is followed by another.
class WrongCompiler : public vkattn::ShaderCompiler {
  public:
    WrongCompiler(std::string_view text, std::string_view more) : text_(text), more_(more) {}
    vkattn::Result<std::vector<uint32_t>> compile(const vkattn::CompileJob& job) const override {
        vkattn::CompileJob changed = job;
        if (const size_t at = changed.source.find(text_); at != std::string::npos)
            changed.source.insert(at + text_.size(), more_);
        return test_compiler()->compile(changed);
    }
    std::string version() const override { return test_compiler()->version() + std::string(more_); }

  private:
    std::string_view text_, more_;
};

vkattn::EngineOptions options_with(const vkattn::ShaderCompiler* compiler, const std::string& cache_directory = {}) {
    vkattn::EngineOptions options;
    options.compiler = compiler;
    options.cache_directory = cache_directory;
    return options;
}

// What a host does. `spoil` may change what the device wrote.
template <class Spoil>
SelfTestVerdict run_self_test(SelfTest& test, Spoil spoil) {
    VulkanContext& context = VulkanContext::shared();
    context.clear_messages();
    DeviceBuffer buffer(context, test.buffer_bytes());
    const vkattn::Status bound = test.bind(buffer.handle);
    REQUIRE_MESSAGE(bound.ok(), bound.message);
    test.write({buffer.data, test.buffer_bytes()});
    VkCommandBuffer cmd = context.begin();
    test.record(cmd);
    context.submit_and_wait(cmd);
    CHECK_MESSAGE(context.messages().empty(), context.message_text());
    spoil(std::span<uint8_t>(buffer.data, test.buffer_bytes()));
    return test.judge({buffer.data, test.buffer_bytes()});
}

void leave(std::span<uint8_t>) {}

Pretence a_gpu() {
    Pretence gpu;
    gpu.type = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
    return gpu;
}

bool says(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("self-test: a sound device keeps its path, and the verdict is remembered unless it is damaged") {
    const TemporaryFolder folder;
    const vkattn::HostDevice host = host_device(VulkanContext::shared());
    const vkattn::EngineOptions options = options_with(test_compiler(), folder.path().string());
    auto test = SelfTest::create(host, options);
    REQUIRE_MESSAGE(test.ok(), test.status().message);
    CHECK_FALSE(test->verdict().has_value());
    const SelfTestVerdict verdict = run_self_test(*test, leave);
    for (const std::string& reason : verdict.reasons) CHECK_MESSAGE(!says(reason, "the first that is not"), reason);
    const vkattn::Features& enabled = host.enabled;
    CHECK(verdict.reasons.size() == 2u + enabled.buffer_device_address + enabled.cooperative_matrix +
                                        (enabled.cooperative_matrix && enabled.cooperative_matrix2));
    CHECK(verdict.path == (enabled.cooperative_matrix2  ? "nv"
                           : enabled.cooperative_matrix ? "khr"
                           : enabled.scalar_subgroup    ? "scalar with subgroups"
                                                        : "scalar without subgroups"));
    // As many as self_test.h says: 3 sets x 16 lengths, and x 4 for the decode kernel, each by descriptors and by addresses.
    const int ways = enabled.buffer_device_address ? 2 : 1;
    for (const std::string& reason : verdict.reasons) {
        int cases = 48 * ways;
        if (says(reason, "scalar with subgroups:")) cases += 12 * ways;
        if (says(reason, "through descriptors:")) cases = 48;
        if (says(reason, "nv:") || says(reason, "khr:")) cases = 16 * ways * (enabled.matrix_bf16 ? 2 : 1);
        const std::string count = std::to_string(cases);
        CHECK_MESSAGE(says(reason, (": " + count + " of " + count + " cases are right").c_str()), reason);
    }
    CHECK(verdict.usable.cooperative_matrix == enabled.cooperative_matrix);
    CHECK(verdict.usable.buffer_device_address == host.enabled.buffer_device_address);
    CHECK(verdict.usable.scalar_subgroup == host.enabled.scalar_subgroup);

    auto again = SelfTest::create(host, options);
    REQUIRE_MESSAGE(again.ok(), again.status().message);
    REQUIRE(again->verdict().has_value());
    CHECK(again->verdict()->path == verdict.path);
    CHECK(again->verdict()->reasons == verdict.reasons);
    CHECK(again->verdict()->usable.scalar_subgroup == verdict.usable.scalar_subgroup);

    int damaged = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
        if (entry.path().filename().string().rfind("self_test", 0) == 0) {
            std::filesystem::resize_file(entry.path(), std::filesystem::file_size(entry.path()) - 1);
            damaged++;
        }
    CHECK(damaged == 1);
    auto without = SelfTest::create(host, options);
    REQUIRE_MESSAGE(without.ok(), without.status().message);
    CHECK_FALSE(without->verdict().has_value());
}

TEST_CASE("self-test: wrong shuffles demote to the path without subgroups, which then is right") {
    const PretendedDevice device(VulkanContext::shared(), a_gpu());
    vkattn::Features features = VulkanContext::shared().enabled;
    features.cooperative_matrix = features.cooperative_matrix2 = features.matrix_bf16 = false;
    const vkattn::HostDevice host = device.host(features);
    if (!host.enabled.scalar_subgroup) return;
    const WrongCompiler compiler(shuffle, " * 0.5");
    auto test = SelfTest::create(host, options_with(&compiler));
    REQUIRE_MESSAGE(test.ok(), test.status().message);
    const SelfTestVerdict verdict = run_self_test(*test, leave);
    CHECK(verdict.path == "scalar without subgroups");
    CHECK_FALSE(verdict.usable.scalar_subgroup);
    CHECK(verdict.usable.buffer_device_address == host.enabled.buffer_device_address);
    REQUIRE(verdict.reasons.size() >= 2);
    CHECK(says(verdict.reasons[0], "scalar with subgroups: "));
    CHECK(says(verdict.reasons[0], "the first that is not: "));
    CHECK(says(verdict.reasons[0], "row error"));

    vkattn::HostDevice demoted = host;
    demoted.enabled = verdict.usable;
    auto engine = vkattn::Engine::create(demoted, options_with(&compiler));
    REQUIRE_MESSAGE(engine.ok(), engine.status().message);
    AttentionCase c;
    c.mask = "causal";
    c.shape = {1, 2, 1, 50, 60};
    RunOptions options;
    options.engine = engine->get();
    run_and_check(c, options);
}

TEST_CASE("self-test: wrong matrices demote to the scalar path") {
    vkattn::HostDevice host = host_device(VulkanContext::shared());
    if (!host.enabled.cooperative_matrix) return;
    host.enabled.cooperative_matrix2 = false;
    const WrongCompiler compiler(matrix_weight, " words.x *= lane & 1u;");
    auto test = SelfTest::create(host, options_with(&compiler));
    REQUIRE_MESSAGE(test.ok(), test.status().message);
    const SelfTestVerdict verdict = run_self_test(*test, leave);
    CHECK(verdict.path == "scalar with subgroups");
    CHECK_FALSE(verdict.usable.cooperative_matrix);
    CHECK(verdict.usable.scalar_subgroup);
    CHECK(says(verdict.reasons[0], "khr: "));
    CHECK(says(verdict.reasons[0], "the first that is not: "));
}

TEST_CASE("self-test: results that were not written are wrong on every path") {
    const PretendedDevice device(VulkanContext::shared(), a_gpu());
    auto test = SelfTest::create(device.host({}), options_with(test_compiler()));
    REQUIRE_MESSAGE(test.ok(), test.status().message);
    SelfTest& written = *test;
    const SelfTestVerdict verdict =
        run_self_test(*test, [&](std::span<uint8_t> bytes) { written.write(bytes); });  // as before the run
    CHECK(verdict.path.empty());
    CHECK_FALSE(verdict.usable.buffer_device_address);
    REQUIRE(verdict.reasons.size() == 1);
    CHECK(says(verdict.reasons[0], "scalar without subgroups: 0 of 48 cases are right"));
}
