// Each known bug of a driver, forced on the device at hand by pretending to be one that has it: the plan changes as the row says, the
// reason is told, and the result is right.
#include <algorithm>

#include <doctest/doctest.h>

#include "engine/src/engine_impl.h"
#include "engine/src/quirks.h"
#include "harness/pretended_device.h"
#include "harness/run_attention.h"
#include "harness/spirv.h"
#include "vkattn/shader_sources.h"

using namespace vkattn_tests;
using vkattn::Quirk;
using Effect = vkattn::Quirk::Effect;

namespace {

// A device that just has the bug.
Pretence device_with(const Quirk& quirk) {
    Pretence p;
    p.type = quirk.type != VK_PHYSICAL_DEVICE_TYPE_OTHER  ? quirk.type
             : quirk.driver == VK_DRIVER_ID_MESA_LLVMPIPE ? VK_PHYSICAL_DEVICE_TYPE_CPU
                                                          : VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
    p.driver_id = quirk.driver;
    p.vendor_id = quirk.vendor_id != 0 ? quirk.vendor_id : 0x8086;
    p.device_id = quirk.last_device_id;
    p.driver_version = quirk.last_driver_version;
    p.subgroup_size = quirk.subgroup_size_above != 0 ? 2 * quirk.subgroup_size_above : 32;
    return p;
}

bool has_reason(const std::vector<std::string>& reasons, const Quirk& quirk) {
    for (const std::string& reason : reasons)
        if (reason.find(quirk.reason) == 0 && reason.find(quirk.source) != std::string::npos) return true;
    return false;
}

bool suffers(const Pretence& p, Effect effect) {
    vkattn::DeviceInfo device;
    device.type = *p.type;
    device.driver_id = *p.driver_id;
    device.vendor_id = *p.vendor_id;
    device.device_id = *p.device_id;
    device.driver_version = *p.driver_version;
    const auto rows = vkattn::quirks();
    return std::any_of(rows.begin(), rows.end(), [&](const Quirk& quirk) {
        return quirk.effect == effect && vkattn::applies(quirk, device, *p.subgroup_size);
    });
}

// What the rows speak of.
struct Chosen {
    bool addresses, int64, subgroups, full_subgroups, matrices, literal_sizes;
};

Chosen choices_of(vkattn::Engine& engine) {
    vkattn::Problem problem;
    problem.max_shape = {1, 2, 1, 70, 90};
    problem.head_dim = 48;
    problem.skeleton = vkattn::Skeleton::rows;
    auto rows = engine.plan(problem);
    problem.skeleton = vkattn::Skeleton::tiles;
    auto tiles = engine.plan(problem);
    REQUIRE_MESSAGE(rows.ok(), rows.status().message);
    REQUIRE_MESSAGE(tiles.ok(), tiles.status().message);
    return {engine.capabilities().features.buffer_device_address,
            rows->impl().variant.module.address_int64,
            rows->impl().variant.module.subgroup_reduce,
            tiles->impl().variant.full_subgroups,
            engine.capabilities().matrices_usable,
            engine.capabilities().literal_matrix_sizes};
}

// Keeps what it compiles.
class Recording : public vkattn::ShaderCompiler {
  public:
    vkattn::Result<std::vector<uint32_t>> compile(const vkattn::CompileJob& job) const override {
        auto words = test_compiler()->compile(job);
        if (words) modules.push_back(*words);
        return words;
    }
    std::string version() const override { return test_compiler()->version(); }

    mutable std::vector<std::vector<uint32_t>> modules;
};

}  // namespace

TEST_CASE("quirks: every row changes the plan on a device that has the bug, says why, and the result is right") {
    VulkanContext& context = VulkanContext::shared();
    if (!context.enabled.buffer_device_address || !context.enabled.subgroup_size_control) {
        MESSAGE("not on this device: it lacks what the rows take away");
        return;
    }
    for (const Quirk& quirk : vkattn::quirks()) {
        INFO(std::string(quirk.reason));
        CHECK(quirk.reason.find(": ") != std::string_view::npos);  // what is wrong: what is done instead
        CHECK((quirk.source.rfind("https://", 0) == 0 || quirk.source.rfind("test ", 0) == 0));

        const Pretence pretence = device_with(quirk);
        CHECK(suffers(pretence, quirk.effect));
        const PretendedDevice device(context, pretence);
        const vkattn::Requirements wanted = device.requirements();
        CHECK(has_reason(wanted.reasons, quirk));
        const auto engine = device.make_engine(context.enabled);  // of a host that enabled everything
        CHECK(has_reason(engine->capabilities().reasons, quirk));
        const Chosen chosen = choices_of(*engine);
        CHECK(chosen.addresses);
        CHECK(chosen.int64 == suffers(pretence, Effect::int64_addresses));
        CHECK(chosen.subgroups == !suffers(pretence, Effect::no_subgroups));
        CHECK(chosen.matrices == !suffers(pretence, Effect::no_matrices));
        CHECK(chosen.literal_sizes == suffers(pretence, Effect::literal_sizes));
        if (suffers(pretence, Effect::no_subgroups) || suffers(pretence, Effect::no_full_subgroups))
            CHECK_FALSE(chosen.full_subgroups);
        CHECK(wanted.features.buffer_device_address == chosen.addresses);

        AttentionCase c;
        c.mask = "causal";
        c.head_dim = c.value_dim = 48;
        c.shape = {1, 2, 1, 70, 90};
        RunOptions options;
        options.engine = engine.get();
        for (vkattn::Skeleton skeleton :
             {vkattn::Skeleton::automatic, vkattn::Skeleton::rows, vkattn::Skeleton::tiles}) {
            c.skeleton = skeleton;
            run_and_check(c, options);
        }
        if (quirk.effect == Effect::int64_addresses) {  // that a host did not enable
            vkattn::Features enabled = context.enabled;
            enabled.int64_addresses = false;
            const auto without = device.make_engine(enabled);
            CHECK_FALSE(without->capabilities().features.buffer_device_address);
            options.engine = without.get();
            run_and_check(c, options);
            c.addressing = vkattn::Addressing::address;
            options.expect_refusal = true;
            CHECK_FALSE(run_and_check(c, options).ran());
        }
    }
}

TEST_CASE("quirks: a device that misses one of a row's conditions is left alone") {
    for (const Quirk& quirk : vkattn::quirks()) {
        INFO(std::string(quirk.reason));
        std::vector<Pretence> others;
        const auto but = [&](auto change) { change(others.emplace_back(device_with(quirk))); };
        but([](Pretence& p) { p.driver_id = VK_DRIVER_ID_MESA_RADV; });
        if (quirk.vendor_id != 0) but([](Pretence& p) { p.vendor_id = 0x13b5; });
        if (quirk.first_device_id != 0) but([&](Pretence& p) { p.device_id = quirk.first_device_id - 1; });
        if (quirk.last_device_id != ~0u) but([&](Pretence& p) { p.device_id = quirk.last_device_id + 1; });
        if (quirk.type != VK_PHYSICAL_DEVICE_TYPE_OTHER)
            but([](Pretence& p) { p.type = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU; });
        if (quirk.subgroup_size_above != 0) but([&](Pretence& p) { p.subgroup_size = quirk.subgroup_size_above; });
        for (const Pretence& other : others) {
            const PretendedDevice device(VulkanContext::shared(), other);
            CHECK_FALSE(has_reason(device.requirements().reasons, quirk));
        }
    }
}

TEST_CASE("quirks: a range of driver versions is inclusive") {
    Quirk quirk = vkattn::quirks()[0];
    quirk.first_driver_version = 10;
    quirk.last_driver_version = 12;
    vkattn::DeviceInfo device;
    device.driver_id = quirk.driver;
    device.vendor_id = quirk.vendor_id;
    const uint32_t subgroup_size = quirk.subgroup_size_above + 1;
    for (const auto& [version, hit] : {std::pair{9u, false}, {10u, true}, {12u, true}, {13u, false}}) {
        device.driver_version = version;
        CHECK(vkattn::applies(quirk, device, subgroup_size) == hit);
    }
}

// quirks.cpp names three bugs that change nothing here; this is why.
TEST_CASE("quirks: kernels shuffle numbers of 32 bits, in workgroups of N x 1 x 1") {
    for (const vkattn::ShaderSource& source : vkattn::shader_sources()) {
        INFO(std::string(source.name));
        CHECK(source.text.find("local_size_y") == std::string_view::npos);
        CHECK(source.text.find("local_size_z") == std::string_view::npos);
    }

    const Recording compiler;
    const auto engine = make_engine(VulkanContext::shared(), {}, &compiler);
    size_t shuffles = 0;
    for (const auto& [path, skeleton] : {std::pair(vkattn::Path::scalar, vkattn::Skeleton::rows),
                                         {vkattn::Path::scalar, vkattn::Skeleton::tiles},
                                         {vkattn::Path::scalar, vkattn::Skeleton::decode},
                                         {vkattn::Path::khr, vkattn::Skeleton::automatic}}) {
        vkattn::Problem problem;
        problem.max_shape = {1, 2, 1, 40, 40};
        problem.head_dim = 8;
        problem.q_type = problem.k_type = problem.v_type = problem.o_type = vkattn::ElementType::f16;
        problem.mask = vkattn::trace_mask([](auto, auto, auto q, auto kv) { return (q ^ kv) % 3 != 0; });
        problem.path = path;
        problem.skeleton = skeleton;
        const auto plan = engine->plan(problem);
        if (!plan) CHECK(plan.status().code == vkattn::Code::unsupported);
    }
    for (const std::vector<uint32_t>& words : compiler.modules) {
        const ShuffledTypes types = shuffled_types(words);
        CHECK(types.others == 0);
        shuffles += types.scalars_32;
    }
    CHECK((shuffles > 0) == engine->capabilities().features.scalar_subgroup);
}
