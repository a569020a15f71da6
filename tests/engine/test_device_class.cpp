// What a plan chooses for kinds of devices that are not here: as pure choices over many limits, and computed on the device at hand
// that pretends to be one of them.
#include <bit>

#include <doctest/doctest.h>

#include "engine/src/device_class.h"
#include "engine/src/tuning.h"
#include "harness/pretended_device.h"
#include "harness/run_attention.h"

using namespace vkattn_tests;
using vkattn::Addressing;
using vkattn::Capabilities;
using vkattn::Skeleton;

namespace {

struct Device {
    const char* name;
    uint32_t vendor_id;
    VkDriverId driver;
    uint32_t subgroup_size, min_subgroup_size, max_subgroup_size;  // 0, 0: no size can be required
};
constexpr Device navi31{"navi31", 0x1002, VK_DRIVER_ID_MESA_RADV, 64, 32, 64},
    ampere{"ampere", 0x10de, VK_DRIVER_ID_MESA_NVK, 32, 32, 32},
    dg2{"dg2", 0x8086, VK_DRIVER_ID_INTEL_OPEN_SOURCE_MESA, 32, 8, 32},
    bmg{"bmg", 0x8086, VK_DRIVER_ID_INTEL_OPEN_SOURCE_MESA, 32, 16, 32},
    adreno{"adreno740", 0x5143, VK_DRIVER_ID_MESA_TURNIP, 128, 64, 128},
    m1{"m1", 0x10005, VK_DRIVER_ID_MESA_HONEYKRISP, 32, 0, 0},
    mali{"mali", 0x13b5, VK_DRIVER_ID_ARM_PROPRIETARY, 16, 16, 16},
    narrow{"a subgroup of 4", 0, VK_DRIVER_ID_GOOGLE_SWIFTSHADER, 4, 4, 4},
    wide{"a subgroup of 128", 0, VK_DRIVER_ID_IMAGINATION_PROPRIETARY, 128, 128, 128};

Capabilities capabilities_of(const Device& device) {
    Capabilities c;
    c.device.vendor_id = device.vendor_id;
    c.device.driver_id = device.driver;
    c.features.scalar_subgroup = c.features.subgroup_size_control = true;
    c.features.required_subgroup_size = device.max_subgroup_size != 0;
    c.subgroup_size = device.subgroup_size;
    c.min_subgroup_size = device.min_subgroup_size;
    c.max_subgroup_size = device.max_subgroup_size;
    c.max_workgroup_subgroups = 64;
    c.max_shared_bytes = 32768;
    c.max_invocations = 1024;
    c.max_workgroups = 65535;
    c.max_storage_buffer_range = 1u << 27;
    return c;
}

vkattn::Problem problem_of_dim(int32_t dim, int32_t q_len = 70) {
    vkattn::Problem problem;
    problem.max_shape = {1, 4, 2, q_len, 130};
    problem.head_dim = problem.value_dim = dim;
    return problem;
}

}  // namespace

TEST_CASE("plan choices: subgroup sizes and micro tiles of each class of devices") {
    struct Expected {
        Device device;
        int32_t dim;
        uint32_t subgroup_size, micro_rows, micro_cols;
    };
    for (const Expected& e : {
             Expected{navi31, 64, 0, 4, 4},
             Expected{navi31, 256, 0, 2, 4},
             Expected{navi31, 512, 0, 1, 4},
             Expected{ampere, 64, 0, 4, 4},
             Expected{ampere, 128, 0, 2, 4},
             Expected{ampere, 576, 0, 1, 4},
             Expected{dg2, 64, 8, 2, 4},
             Expected{dg2, 128, 8, 2, 4},
             Expected{dg2, 129, 8, 1, 4},
             Expected{dg2, 256, 8, 1, 4},
             Expected{dg2, 512, 8, 1, 2},
             Expected{bmg, 128, 16, 2, 4},
             Expected{bmg, 512, 16, 1, 2},
             Expected{adreno, 64, 64, 4, 4},
             Expected{adreno, 256, 64, 2, 4},
             Expected{m1, 192, 0, 2, 4},
             Expected{m1, 256, 0, 1, 4},
             Expected{mali, 64, 0, 4, 4},
         }) {
        INFO(std::string(e.device.name) << ", dim " << e.dim);
        auto choice = vkattn::choose(capabilities_of(e.device), problem_of_dim(e.dim), {});
        REQUIRE_MESSAGE(choice.ok(), choice.status().message);
        CHECK(choice->skeleton == Skeleton::tiles);
        CHECK(choice->subgroup_reduce);
        CHECK(choice->subgroup_size == e.subgroup_size);
        CHECK(choice->micro_rows == e.micro_rows);
        CHECK(choice->micro_cols == e.micro_cols);
    }
}

TEST_CASE("plan choices: how invocations of each class of devices share keys when they decode") {
    struct Expected {
        Device device;
        int32_t dim;
        uint32_t subgroup_size, sharers, step_keys, tile_rows;  // tile_rows 0: tiles, whose keys are split
    };
    for (const Expected& e : {
             Expected{navi31, 24, 0, 4, 4, 2},
             Expected{navi31, 64, 0, 16, 4, 4},
             Expected{navi31, 80, 0, 16, 4, 2},
             Expected{navi31, 128, 0, 32, 4, 4},
             Expected{navi31, 256, 0, 32, 4, 2},
             Expected{ampere, 512, 0, 32, 2, 1},
             Expected{m1, 576, 0, 32, 2, 1},
             Expected{dg2, 64, 8, 8, 2, 2},
             Expected{dg2, 128, 8, 8, 2, 1},
             Expected{dg2, 129, 8, 8, 0, 0},
             Expected{bmg, 64, 16, 16, 2, 2},
             Expected{bmg, 128, 16, 16, 2, 2},
             Expected{bmg, 256, 16, 16, 2, 1},
             Expected{bmg, 257, 16, 16, 0, 0},
             Expected{adreno, 512, 64, 32, 2, 1},
             Expected{adreno, 513, 64, 32, 0, 0},
             Expected{mali, 128, 0, 16, 4, 2},
             Expected{mali, 512, 0, 16, 0, 0},
         }) {
        INFO(std::string(e.device.name) << ", dim " << e.dim);
        vkattn::Problem problem = problem_of_dim(e.dim, 1);
        problem.max_shape.q_heads = 8;  // four rows a key
        auto choice = vkattn::choose(capabilities_of(e.device), problem, {});
        REQUIRE_MESSAGE(choice.ok(), choice.status().message);
        CHECK(choice->subgroup_size == e.subgroup_size);
        CHECK(choice->skeleton == (e.tile_rows == 0 ? Skeleton::tiles : Skeleton::decode));
        if (e.tile_rows == 0) continue;
        CHECK(choice->threads_x == e.sharers);
        CHECK(choice->step_keys == e.step_keys);
        CHECK(choice->tile_rows == e.tile_rows);
    }
}

TEST_CASE("plan choices: a GPU decodes up to eight queries at any ratio of heads") {
    for (const Device& device : {navi31, ampere, dg2, adreno, m1})
        for (int32_t group : {1, 4, 16, 32})
            for (int32_t q_len : {1, 8, 9}) {
                INFO(std::string(device.name) << ", " << group << " heads on one, " << q_len << " queries");
                vkattn::Problem problem = problem_of_dim(64, q_len);
                problem.max_shape.q_heads = 2 * group;
                auto choice = vkattn::choose(capabilities_of(device), problem, {});
                REQUIRE_MESSAGE(choice.ok(), choice.status().message);
                CHECK(choice->skeleton == (q_len <= 8 ? Skeleton::decode : Skeleton::tiles));
            }
}

TEST_CASE("plan choices: matrices split the keys where their tiles leave cores idle, or as asked") {
    Capabilities c = capabilities_of(ampere);
    c.cores = 82;
    c.max_workgroup_subgroups = 64;
    c.features.cooperative_matrix = c.features.cooperative_matrix2 = true;
    c.matrix_shapes = {{16, 16, 16, vkattn::ElementType::f16}};
    vkattn::Problem problem = problem_of_dim(128, 64);
    problem.q_type = problem.k_type = problem.v_type = problem.o_type = vkattn::ElementType::f16;
    const auto splits_of = [&] {
        auto choice = vkattn::choose(c, problem, {});
        REQUIRE_MESSAGE(choice.ok(), choice.status().message);
        CHECK(choice->path == (problem.path == vkattn::Path::nv ? vkattn::Path::nv : vkattn::Path::khr));
        CHECK(vkattn::parts_of_tile(*choice) == choice->splits);
        CHECK((vkattn::partials_bytes(problem, *choice) > 0) == (choice->splits > 1));
        return choice->splits;
    };
    for (vkattn::Path path : {vkattn::Path::automatic, vkattn::Path::khr, vkattn::Path::nv}) {
        problem.path = path;
        problem.splits = 0;
        for (int32_t q_len : {9, 16, 32}) {
            problem.max_shape = {1, 32, 8, q_len, 131072};  // 32 tiles for 82 cores
            CHECK(splits_of() == 6);
        }
        problem.max_shape.kv_len = 1000;
        CHECK(splits_of() == 3);  // none below 256 keys
        problem.max_shape = {2, 32, 8, 32, 131072};
        CHECK(splits_of() == 1);
        problem.splits = 5;
        CHECK(splits_of() == 5);
        problem.splits = 1;
        problem.max_shape.batch = 1;
        CHECK(splits_of() == 1);
    }
}

TEST_CASE("plan choices: whatever the subgroup sizes and limits are, what a pipeline requires is offered") {
    uint32_t reduced = 0, required = 0, decoding = 0;
    for (const Device& device : {navi31, ampere, dg2, bmg, adreno, m1, mali, narrow, wide})
        for (uint32_t invocations : {32u, 64u, 128u, 256u, 1024u, 1000u})
            for (uint32_t workgroup_subgroups : {1u, 4u, 64u})
                for (int features = 0; features < 16; features++)
                    for (int32_t dim : {1, 40, 64, 65, 80, 128, 129, 192, 193, 256, 257, 512, 576}) {
                        INFO(std::string(device.name) << ", dim " << dim << ", " << invocations << " invocations, "
                                                      << workgroup_subgroups << " subgroups, features " << features);
                        Capabilities c = capabilities_of(device);
                        c.max_invocations = invocations;
                        c.max_shared_bytes = 16384;
                        c.max_workgroup_subgroups = workgroup_subgroups;
                        c.features.scalar_subgroup = (features & 1) != 0;
                        c.features.subgroup_size_control = (features & 2) != 0;
                        if ((features & 4) == 0 || !c.features.subgroup_size_control) {
                            c.features.required_subgroup_size = false;
                            c.min_subgroup_size = c.max_subgroup_size = c.max_workgroup_subgroups = 0;
                        }
                        auto choice = vkattn::choose(c, problem_of_dim(dim, (features & 8) != 0 ? 1 : 70), {});
                        REQUIRE_MESSAGE(choice.ok(), choice.status().message);
                        const uint32_t size = choice->subgroup_size;
                        CHECK(choice->workgroup_size <= invocations);
                        if (choice->skeleton == Skeleton::decode) {  // sums over the sharers halve; steps divide them
                            CHECK(std::has_single_bit(choice->threads_x));
                            CHECK(choice->threads_x <= 32);
                            CHECK(std::has_single_bit(choice->step_keys));
                            CHECK(choice->step_keys <= choice->threads_x);
                            CHECK(choice->workgroup_size % choice->threads_x == 0);
                            decoding++;
                        } else {
                            CHECK(choice->tile_rows % 4 == 0);
                        }
                        if (choice->subgroup_reduce) {  // full subgroups, each made of whole rows of threads
                            const uint32_t subgroup = size != 0 ? size : c.subgroup_size;
                            CHECK(c.features.scalar_subgroup);
                            CHECK(c.features.subgroup_size_control);
                            CHECK(choice->threads_x <= subgroup);
                            CHECK(choice->workgroup_size % subgroup == 0);
                            reduced++;
                        }
                        if (size != 0) {
                            CHECK(choice->subgroup_reduce);
                            CHECK(std::has_single_bit(size));
                            CHECK(size >= c.min_subgroup_size);
                            CHECK(size <= c.max_subgroup_size);
                            CHECK(choice->workgroup_size / size <= c.max_workgroup_subgroups);
                            required++;
                        }
                    }
    CHECK(reduced > 0);
    CHECK(required > 0);
    CHECK(decoding > 0);
}

TEST_CASE("a required subgroup size reaches the pipeline and leaves the bits as they are") {
    const uint32_t own = shared_engine().capabilities().subgroup_size;
    if (own != 8) {
        MESSAGE("not on this device: its subgroups are of " << own << ", those of an Arc A770 of 8");
        return;
    }
    Pretence arc;
    arc.type = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
    arc.vendor_id = dg2.vendor_id;
    arc.driver_id = dg2.driver;
    arc.subgroup_size = dg2.subgroup_size;
    arc.max_subgroup_size = dg2.max_subgroup_size;
    const PretendedDevice device(VulkanContext::shared(), arc);
    const auto engine = device.make_engine();
    CHECK(engine->capabilities().min_subgroup_size == 8);
    CHECK(engine->capabilities().max_subgroup_size == 32);
    for (int32_t dim : {64, 160, 512})
        for (const char* mask : {"causal", "documents_causal"}) {
            AttentionCase c;
            c.mask = mask;
            c.head_dim = c.value_dim = dim;
            c.shape = {1, 2, 1, 75, 90};
            c.k_type = c.v_type = vkattn::ElementType::f16;
            const Inputs inputs = make_inputs(c);
            RunOptions options;
            options.engine = engine.get();
            const RunResult required = run(c, inputs, options);
            check_result(c, inputs, required, options);
            CHECK(required.report.skeleton == "tiles");
            CHECK(required.report.subgroup_size == 8);
            REQUIRE(!device.pipelines().empty());
            CHECK(device.pipelines().back().subgroup_size == 8);
            CHECK(device.pipelines().back().full_subgroups);
            if (dim > 256) continue;  // another step of keys, so another order of sums
            c.skeleton = Skeleton::tiles;
            c.addressing = Addressing::binding;
            const RunResult chosen_by_driver = run(c, inputs);
            CHECK(chosen_by_driver.report.subgroup_size == 0);
            CHECK(same_bits(required, chosen_by_driver));
        }
}

TEST_CASE("a host that does not enable subgroupSizeControl gets pipelines without a required size") {
    Pretence arc;
    arc.type = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
    arc.vendor_id = dg2.vendor_id;
    arc.driver_id = dg2.driver;
    const PretendedDevice device(VulkanContext::shared(), arc);
    vkattn::HostDevice host = host_device(VulkanContext::shared());
    CHECK(device.requirements().features.required_subgroup_size == host.enabled.required_subgroup_size);
    host.enabled.required_subgroup_size = false;
    const auto engine = device.make_engine(host.enabled);
    CHECK_FALSE(engine->capabilities().features.required_subgroup_size);
    CHECK(engine->capabilities().max_subgroup_size == 0);
    AttentionCase c;
    c.shape = {1, 1, 1, 40, 40};
    RunOptions options;
    options.engine = engine.get();
    CHECK(run_and_check(c, options).report.subgroup_size == 0);
    CHECK(device.pipelines().back().subgroup_size == 0);
}
