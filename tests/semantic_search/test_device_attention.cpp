// The encoder's attention on the device is the plain loops', for every length and packing, without a new pipeline.
#include "device_attention.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>

#include "loop_attention.h"
#include "the_model.h"
#include "verification.h"

namespace vkattn_tests {
namespace {

using namespace semantic_search;

// The process's device; lavapipe unless VKATTN_TEST_DEVICE names another.
DeviceAttention& the_device() {
    static std::unique_ptr<DeviceAttention> device;
    if (device == nullptr) {
        const char* name = std::getenv("VKATTN_TEST_DEVICE");
        auto made = DeviceAttention::create(name == nullptr ? "llvmpipe" : name, 320);
        REQUIRE_MESSAGE(made.ok(), made.status().message);
        device = *std::move(made);
    }
    return *device;
}

}  // namespace

TEST_SUITE("device") {

    TEST_CASE("random packs: device equals plain loops") {
        DeviceAttention& device = the_device();
        const uint64_t pipelines = device.pipelines_created();
        for (unsigned seed = 0; seed < 24; seed++) {
            std::mt19937 random(seed);
            const int32_t lengths[] = {1, 2, 63, 64, 65, 127, 128, 129, 200, 256, 319, 320};
            AttentionCall call;
            call.tokens = lengths[seed % std::size(lengths)];
            call.heads = SentenceEncoder::n_heads;
            call.head_dim = SentenceEncoder::head_dims[seed / 12];
            std::vector<int32_t> documents;  // unsorted numbers, so that only equality can be used
            while (documents.size() < static_cast<size_t>(call.tokens)) {
                const auto document = static_cast<int32_t>(random() % 1000u);
                for (auto n = 1 + random() % 30u; n > 0 && documents.size() < static_cast<size_t>(call.tokens); n--)
                    documents.push_back(document);
            }
            call.documents = documents;
            const size_t width = static_cast<size_t>(call.tokens * call.heads * call.head_dim);
            std::normal_distribution<float> normal;
            std::vector<float> qkv(3 * width), on_device(width, std::numeric_limits<float>::quiet_NaN()),
                expected(width);
            for (float& x : qkv) x = normal(random);
            call.qkv = qkv.data();
            for (float sharpness : {1.0f, 0.0f}) {
                call.o = expected.data();
                REQUIRE(loop_attention(call, double{sharpness}).ok());
                call.o = on_device.data();
                const vkattn::Status status = device.attend(call, sharpness);
                REQUIRE_MESSAGE(status.ok(), status.message);
                float worst = 0.0f;
                for (size_t i = 0; i < width; i++) {
                    const float difference = std::abs(on_device[i] - expected[i]);
                    worst =
                        std::max(worst, std::isnan(difference) ? std::numeric_limits<float>::infinity() : difference);
                }
                CHECK_MESSAGE(worst <= 1e-5f, "seed ", seed, " tokens ", call.tokens, " head_dim ", call.head_dim,
                              " sharpness ", sharpness);
            }
        }
        CHECK(device.pipelines_created() == pipelines);
        CHECK(pipelines == 2);
    }

    TEST_CASE("too many tokens and unknown head dims are refused") {
        DeviceAttention& device = the_device();
        const std::vector<int32_t> documents(321);
        const std::vector<float> qkv(321 * 3 * 256);
        std::vector<float> o(321 * 256);
        const vkattn::Status long_call = device.attend(
            {.tokens = 321, .heads = 4, .head_dim = 64, .documents = documents, .qkv = qkv.data(), .o = o.data()});
        CHECK(long_call.message.find("320") != std::string::npos);
        const vkattn::Status odd_call = device.attend({.tokens = 1,
                                                       .heads = 4,
                                                       .head_dim = 32,
                                                       .documents = std::span(documents).first(1),
                                                       .qkv = qkv.data(),
                                                       .o = o.data()});
        CHECK(odd_call.message.find("32") != std::string::npos);
    }
}

TEST_SUITE("model_device") {

    TEST_CASE("the program's own checks hold") {
        const SentenceEncoder* model = the_model();
        if (model == nullptr) return;
        const auto checks = verify(*model, the_device());
        REQUIRE_MESSAGE(checks.ok(), checks.status().message);
        CHECK(checks->size() == 7);
        for (const Check& check : *checks) CHECK_MESSAGE(check.ok, check.name, ": ", check.found);
    }
}

}  // namespace vkattn_tests
