// Kernels that are wrong on purpose: the program must notice each of them, and say what is wrong.
#include <doctest/doctest.h>

#include "case_runner.h"
#ifdef VKATTN_TEST_WITH_COMPILER
#include "vkattn/shaderc_compiler.h"

using namespace vkattn_tests;

namespace {

// Compiles with one piece of text, of the kernel or of what it includes, replaced by another.
class Spoiling : public vkattn::ShaderCompiler {
  public:
    Spoiling(std::string from, std::string to) : from_(std::move(from)), to_(std::move(to)) {}
    vkattn::Result<std::vector<uint32_t>> compile(const vkattn::CompileJob& job) const override {
        vkattn::CompileJob changed = job;
        vkattn::SourceSet includes = job.includes == nullptr ? vkattn::SourceSet() : *job.includes;
        spoil(changed.source);
        for (auto& [name, text] : includes) spoil(text);
        changed.includes = &includes;
        return real_->compile(changed);
    }
    std::string version() const override { return real_->version() + " spoiled"; }
    mutable int changes = 0;

  private:
    void spoil(std::string& text) const {
        for (size_t at = text.find(from_); at != std::string::npos; at = text.find(from_, at + to_.size())) {
            text.replace(at, from_.size(), to_);
            changes++;
        }
    }
    std::string from_, to_;
    std::unique_ptr<vkattn::ShaderCompiler> real_ = vkattn::make_shaderc_compiler();
};

// The mask is none that was compiled ahead of time.
CaseOutcome outcome_with(const std::string& from, const std::string& to, const char* text, bool bits) {
    static const auto device = vkattn::support::Device::create("cpu");
    REQUIRE_MESSAGE(device.ok(), device.status().message);
    const Spoiling compiler(from, to);
    CaseRunner runner(**device, &compiler);
    const AttentionCase c = *read_case(text);
    const auto prepared = prepare(c);
    REQUIRE_MESSAGE(prepared.ok(), prepared.status().message);
    const CaseOutcome outcome = runner.run(*find_path("rows-binding"), c, *prepared, bits);
    CHECK(compiler.changes > 0);
    return outcome;
}

constexpr const char* call = "mask=wrong_index d=15 dv=15 hq=2 hkv=1 lq=70 lkv=131 layout=odd";

}  // namespace

TEST_CASE("nothing spoiled: right, and the same bits") {
    const CaseOutcome outcome = outcome_with("exp2(", "exp2(", call, true);
    CHECK_MESSAGE(outcome.state == CaseOutcome::State::right, outcome.words);
    CHECK(outcome.bits_same);
    CHECK(outcome.kernel.find("rows") != std::string::npos);
    CHECK(outcome.verdict.worst > 0.0);
    CHECK(outcome.verdict.worst < outcome.verdict.bound);
}

TEST_CASE("weights that are off by a part in ten thousand") {
    const CaseOutcome outcome = outcome_with("exp2((score - state.row_max) * EXP2_FACTOR)",
                                             "exp2((score - state.row_max) * EXP2_FACTOR * 1.0001)", call, false);
    CHECK(outcome.state == CaseOutcome::State::wrong);
    CHECK_MESSAGE(outcome.words.find("above the bound") != std::string::npos, outcome.words);
}

TEST_CASE("an element behind the row's end is written") {
    const CaseOutcome outcome =
        outcome_with("if (left > 3u) O_UNIT(row, e + 3u) = value.w;", "O_UNIT(row, e + 3u) = value.w;", call, false);
    CHECK(outcome.state == CaseOutcome::State::wrong);
    CHECK_MESSAGE(outcome.words.find("a write outside of its tensor: o") != std::string::npos, outcome.words);
}

TEST_CASE("a last bit that depends on the workgroup's number in its dispatch") {
    const CaseOutcome outcome =
        outcome_with("acc[d] * inverse)", "acc[d] * inverse * (1.0 + 1.2e-7 * float(min(gl_WorkGroupID.x, 1u))))",
                     "mask=wrong_index d=15 dv=15 lq=200 lkv=131", true);
    CHECK(outcome.state == CaseOutcome::State::wrong);
    CHECK_MESSAGE(outcome.words.find("other bits") != std::string::npos, outcome.words);
    CHECK_FALSE(outcome.bits_same);
}

TEST_CASE("a module that does not compile is a failure, not a missing path") {
    const CaseOutcome outcome = outcome_with("exp2(", "no_such_function(", call, false);
    CHECK(outcome.state == CaseOutcome::State::wrong);
    CHECK(outcome.words.find("plan") != std::string::npos);
}
#endif
