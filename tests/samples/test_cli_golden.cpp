// `vkattn run` on a device against what PyTorch's flex_attention gave for the same tensors: outputs and logsumexp in float64,
// tests/golden (make_golden.py).
#ifdef VKATTN_TEST_COMPILER  // the goldens' dims are odd, which no shipped module is made for
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "harness/command_line.h"
#include "support/safetensors.h"

using namespace vkattn;
using namespace vkattn::support;
using vkattn::test::Printed;
using vkattn::test::run_tested_program;
using vkattn::test::TemporaryFolder;

namespace {

struct Case {
    const char* name;  // of the golden file
    const char* mask;
    const char* score = "score";
};

std::vector<double> f64_of(const Safetensors& file, const std::string& name) {
    const Tensor* found = file.find(name);
    REQUIRE_MESSAGE(found != nullptr, name);
    REQUIRE(found->dtype == DType::f64);
    std::vector<double> values(static_cast<size_t>(found->count()));
    std::memcpy(values.data(), found->bytes.data(), found->bytes.size());
    return values;
}

void check_close(const Safetensors& ours, const char* name, const std::vector<double>& theirs, double relative) {
    CAPTURE(name);
    const Tensor* found = ours.find(name);
    REQUIRE(found != nullptr);
    const auto values = to_f32(*found);
    REQUIRE_MESSAGE(values.ok(), values.status().message);
    REQUIRE(values->size() == theirs.size());
    double worst = 0;
    for (size_t i = 0; i < theirs.size(); ++i) {
        const double value = static_cast<double>((*values)[i]);
        if (value == theirs[i]) continue;  // also -inf, of a row without keys
        const double error = std::fabs(value - theirs[i]) / (1 + std::fabs(theirs[i]));
        worst = error <= worst ? worst : error;
    }
    CHECK(worst <= relative);
}

// q, k and v of the file and the case's tables under their own names; then what the device made of them.
void check_case(const TemporaryFolder& folder, const Safetensors& golden, const Case& each) {
    CAPTURE(each.name);
    const std::string at = std::string(each.name) + "/small/", tables = at + "table/";
    std::vector<TensorSource> inputs;
    for (const Tensor& tensor : golden.tensors()) {
        std::string name;
        if (tensor.name == "inputs/q" || tensor.name == "inputs/k" || tensor.name == "inputs/v")
            name = tensor.name.substr(7);
        if (tensor.name.rfind(tables, 0) == 0) name = tensor.name.substr(tables.size());
        if (!name.empty()) inputs.push_back({name, tensor.dtype, tensor.shape, tensor.bytes});
    }
    const std::string in = (folder / "in.safetensors").string(), out = (folder / "out.safetensors").string();
    REQUIRE(write_safetensors(in, inputs).ok());
    const Printed printed =
        run_tested_program(folder, {"run", "--in", in, "--out", out, "--mask", each.mask, "--score", each.score});
    REQUIRE_MESSAGE(printed.exit_code == 0, printed.command << "\n" << printed.out << printed.err);
    const auto made = Safetensors::open(out);
    REQUIRE_MESSAGE(made.ok(), made.status().message);
    check_close(*made, "o", f64_of(golden, at + "o"), 3e-6);
    check_close(*made, "lse", f64_of(golden, at + "lse"), 3e-6);
}

Safetensors open_golden(const char* source) {
    auto file = Safetensors::open(std::string(VKATTN_TEST_GOLDEN "/") + source + ".safetensors");
    REQUIRE_MESSAGE(file.ok(), file.status().message);
    return std::move(*file);
}

}  // namespace

TEST_SUITE("cli") {
    TEST_CASE("run: PyTorch's outputs and logsumexp") {
        const TemporaryFolder folder;
        const Safetensors golden = open_golden("flex_attention");
        for (const Case& each :
             {Case{"causal", "causal()"}, Case{"lower_right", "causal_lower_right()"},
              Case{"sliding_window", "sliding_window(5)"}, Case{"document_causal", "causal() && document(document_id)"},
              Case{"score/alibi_closure", "causal()", "alibi(alibi_bias)"},
              Case{"score/alibi_functional", "causal()", "alibi()"},
              Case{"score/tanh_soft_cap", "causal()", "softcap(2.0)"}})
            check_case(folder, golden, each);
    }

    TEST_CASE("run: PyTorch's outputs for masks that are compiled, and for rows without keys") {
        const TemporaryFolder folder;
        const Safetensors golden = open_golden("flex_attention");
        const char* jagged = "q - offsets[seq_idx[q]] >= kv - offsets[seq_idx[kv]] && seq_idx[q] == seq_idx[kv]";
        for (const Case& each : {Case{"jagged_causal", jagged}, Case{"unattended_rows", "q >= kv && kv >= 4"}})
            check_case(folder, golden, each);
    }

    TEST_CASE("run: the outputs of attention-gym's score mods") {
        const TemporaryFolder folder;
        const Safetensors golden = open_golden("attention_gym");
        check_case(folder, golden, {"score/graphormer_spatial", "causal()", "score + bias[h, distance[b, q, kv]]"});
    }
}
#endif
