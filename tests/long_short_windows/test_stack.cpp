// The program from end to end, and that its checks can fail.
#include <doctest/doctest.h>

#include <sstream>

#include "harness/command_line.h"
#include "long_short_windows/documents.h"
#include "long_short_windows/layer_stack.h"
#include "support/safetensors.h"

using namespace vkattn::support;
using namespace vkattn::test;
using namespace long_short_windows;

namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// The lines of the table of steps.
std::vector<std::string> steps_of(const std::string& out) {
    std::vector<std::string> steps;
    std::istringstream lines(out.substr(out.find("\nstep ")));
    for (std::string line; std::getline(lines, line);)
        if (has(line, "row error")) steps.push_back(line);
    return steps;
}

}  // namespace

TEST_CASE("long_short_windows: windows grow, nothing is compiled, every step is right") {
    const TemporaryFolder folder;
    const Printed printed = run_tested_program(folder, {"--length", "900", "--layers", "LSL", "--dim", "16", "--steps",
                                                        "3", "--window", "640", "--check-length", "300"});
    REQUIRE_MESSAGE(printed.exit_code == 0, printed.command << "\n" << printed.out << printed.err);
    CHECK(has(printed.out, "900 tokens, 5 documents"));
    CHECK(has(printed.out, "long mask, last step: 5 blocks"));
    CHECK(has(printed.out, "short mask: 2 blocks"));
    CHECK(!has(printed.out, "WRONG"));
    const std::vector<std::string> steps = steps_of(printed.out);
    REQUIRE(steps.size() == 3);
    const char* windows[] = {"128 / 128", "384 / 128", "640 / 256"};
    for (size_t i = 0; i < steps.size(); ++i) {
        CHECK_MESSAGE(has(steps[i], windows[i]), steps[i]);
        CHECK_MESSAGE(has(steps[i], "passed"), steps[i]);
        CHECK_MESSAGE(has(steps[i], "          1   passed"), steps[i]);  // pipelines
    }
}

TEST_CASE("long_short_windows: tokens from a file, and bad usage") {
    const TemporaryFolder folder;
    std::vector<int32_t> tokens(200, 3);
    tokens[0] = tokens[50] = tokens[170] = 9;
    const std::string file = (folder / "tokens.safetensors").string();
    const TensorSource tensors[] = {{"tokens", DType::i32, {200}, bytes_of(tokens)}};
    REQUIRE(write_safetensors(file, tensors).ok());
    const Printed printed = run_tested_program(
        folder, {"--tokens", file, "--end-of-text", "9", "--layers", "SL", "--dim", "16", "--steps", "1"});
    REQUIRE_MESSAGE(printed.exit_code == 0, printed.command << "\n" << printed.out << printed.err);
    CHECK(has(printed.out, "200 tokens, 3 documents"));

    const auto refused = [&](std::vector<std::string> arguments, const char* reason) {
        const Printed answer = run_tested_program(folder, arguments);
        CHECK_MESSAGE(answer.exit_code == 2, answer.command << "\n" << answer.err);
        CHECK_MESSAGE(has(answer.err, reason), answer.err);
    };
    refused({"--layers", "LXS"}, "each L (long) or S (short)");
    refused({"--dim", "10"}, "--dim: 10 is no multiple of 4");
    refused({"--tokens", (folder / "none").string()}, "none");
    refused({"--device", "no such"}, "no device matches 'no such'");
    refused({"--length", "65536", "--heads", "64"}, "more than 2^28 numbers");
}

TEST_CASE("long_short_windows: another window than the step's is noticed by the check") {
    auto stack = LayerStack::create("", {.heads = 1, .dim = 16, .layers = "LS"}, 300);
    REQUIRE_MESSAGE(stack.ok(), stack.status().message);
    auto sequence = (*stack)->load(made_up_tokens(300, vkattn::modded_nanogpt::end_of_text),
                                   vkattn::modded_nanogpt::end_of_text, 1);
    REQUIRE_MESSAGE(sequence.ok(), sequence.status().message);
    auto times = (*stack)->step(*sequence, {.long_blocks = 2, .short_blocks = 1});
    REQUIRE_MESSAGE(times.ok(), times.status().message);
    auto right = (*stack)->check(*sequence, {.long_blocks = 2, .short_blocks = 1});
    REQUIRE(right.ok());
    CHECK(right->ok());
    for (const Windows& other : {Windows{1, 1}, Windows{2, 2}}) {
        auto wrong = (*stack)->check(*sequence, other);
        REQUIRE(wrong.ok());
        CHECK(!wrong->ok());
    }
}
