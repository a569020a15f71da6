// What is measured: a mask, a score mod, a shape and a type; and the suites, which are lists of these.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "vkattn/bindings.h"
#include "vkattn/mask.h"
#include "vkattn/types.h"

namespace vkattn::bench {

// Which kernel; automatic: what plan() chooses.
struct KernelWishes {
    Path path = Path::automatic;
    Schedule schedule = Schedule::automatic;
    Skeleton skeleton = Skeleton::automatic;
    Addressing addressing = Addressing::automatic;
    Widen widen = Widen::automatic;
};

struct BenchCase {
    // Looked at side by side: "length", "16-bit", "blocks", "head dim", "type", "mask", "decode", "single".
    std::string group;
    std::string label;  // the mask's short name, for a plot's legend
    std::string mask = "true";
    std::string score = "score";
    Shape shape;
    int32_t head_dim = 64;  // D and Dv
    ElementType type = ElementType::f32;
    bool peers = false;  // measured beside them
    KernelWishes kernel = {};
};

// "causal 1x8x8x1024x1024x64 f32"
std::string name_of(const BenchCase& bench_case);
std::string size_text(const BenchCase& bench_case);  // "1x8x8x1024x1024x64"

// "BxHqxHkvxLqxLkvxD" or "BxHxLxD" into the case. Errors say what is wrong with the text.
Status parse_size(std::string_view text, BenchCase& bench_case);

// "quick": under 90 seconds on two cores with a software device. "full": everything, as far as estimates allow.
std::vector<BenchCase> suite(std::string_view name);

// A text of ours with the table `doc` [kv_len] where it is named: documents one after the other whose lengths are lognormal (median
// 512 tokens, sigma 1.1, 16 to 16384), the same every time.
struct Described {
    Mask mask;
    ScoreMod score_mod;
    Bindings bindings;
};
// Errors: "--mask: column 3: ...".
Result<Described> describe(const BenchCase& bench_case);

std::vector<int32_t> lognormal_documents(int32_t length);

}  // namespace vkattn::bench
