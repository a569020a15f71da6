// Every pipeline that the engine picks for a table of problems, through a device's real compiler, and the whole host path under the
// validation layer. The device may be a pretended one that computes nothing (tests/vendors.sh), so no result is looked at.
//
//   VKATTN_TEST_DEVICE        which of the drivers' devices (harness/vulkan_context.h)
//   VKATTN_VENDORS_KEY        the device's key in tests/vendors.sh, for replay lines and expectations.h
//   VKATTN_VENDORS_NAME       what it stands for there
//   VKATTN_VENDORS_OUT        a folder for <key>.csv (a line a pipeline) and <key>.json (for build/bin/vkattn-devices)
//   VKATTN_VENDORS_CACHE      a folder for compiled modules, shared by all devices
//   VKATTN_REPLAY             one case instead of the table
//   VKATTN_VENDORS_TRY        "MICRO_ROWS=1 TILE_ROWS=16 subgroup=16": other specialization constants, a required subgroup size
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <sstream>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "budgets.h"
#include "expectations.h"
#include "pipeline_statistics.h"
#include "run_attention.h"
#include "vkattn/named.h"

using namespace vkattn_tests;
using vkattn::ElementType;

namespace {

std::string environment(const char* name, const char* otherwise = "") {
    const char* value = std::getenv(name);
    return value == nullptr || *value == '\0' ? otherwise : value;
}

struct Maskings {
    const char *mask, *score;
};

AttentionCase make_case(ElementType type, int32_t head_dim, int32_t value_dim, const Maskings& maskings) {
    AttentionCase c;
    c.mask = maskings.mask;
    c.score = maskings.score;
    c.q_type = c.k_type = c.v_type = c.o_type = type;
    c.head_dim = head_dim;
    c.value_dim = value_dim;
    c.shape = {1, 4, 2, 70, 130};
    return c;
}

std::vector<AttentionCase> table_of_problems() {
    constexpr Maskings full{"full", "none"}, causal{"causal", "none"}, documents{"documents_causal", "softcap"};
    constexpr ElementType types[] = {ElementType::f32, ElementType::f16, ElementType::bf16};
    std::vector<AttentionCase> table;
    const auto add_both_lengths = [&](AttentionCase c) {
        table.push_back(c);
        c.shape.q_len = 1;  // decoding
        table.push_back(c);
    };
    for (ElementType type : types) {
        for (int32_t dim : {64, 80, 128, 256, 512})
            for (const Maskings& maskings : {full, causal, documents})
                add_both_lengths(make_case(type, dim, dim, maskings));
        add_both_lengths(make_case(type, 192, 128, causal));
        add_both_lengths(make_case(type, 576, 512, causal));
    }
    // Decoding with as many heads on a key head as models have, and with keys that are shared out.
    for (ElementType type : types)
        for (int32_t dim : {64, 80, 128, 256, 512})
            for (int32_t group : {1, 4, 8}) {
                if (type != ElementType::f16 && (group != 4 || dim == 80)) continue;
                AttentionCase decode = make_case(type, dim, dim, documents);
                decode.shape = {1, 2 * group, 2, 1, group == 8 ? 2048 : 130};
                if (group == 1) decode.layout = Layout::odd;
                table.push_back(decode);
            }
    for (ElementType type : {ElementType::f16, ElementType::bf16})
        for (int32_t dim : {64, 256, 512}) {
            AttentionCase scalar = make_case(type, dim, dim, documents);  // where `automatic` takes matrices
            scalar.path = vkattn::Path::scalar;
            table.push_back(scalar);
        }
    for (int32_t dim :
         {64, 128, 256, 512}) {  // a chunk of queries against many keys: matrices, else tiles, with splits
        AttentionCase chunk = make_case(ElementType::f16, dim, dim, documents);
        chunk.shape.q_len = 64;
        chunk.splits = 4;
        table.push_back(chunk);
    }
    for (ElementType type : types) {
        for (int32_t dim : {64, 256}) {
            AttentionCase odd = make_case(type, dim, dim, causal);
            odd.layout = Layout::odd;
            table.push_back(odd);
            AttentionCase address = make_case(type, dim, dim, causal);
            address.addressing = vkattn::Addressing::address;
            table.push_back(address);
        }
        for (vkattn::ListEncoding encoding : {vkattn::ListEncoding::runs, vkattn::ListEncoding::indices}) {
            AttentionCase list = make_case(type, 128, 128, documents);
            list.schedule = vkattn::Schedule::list;
            list.encoding = encoding;
            list.shape.q_len = list.shape.kv_len = 300;
            table.push_back(list);
        }
    }
    return table;
}

// documents_causal stands for a causal window within documents here.
Inputs inputs_of(const AttentionCase& c) {
    Inputs inputs = make_inputs(c);
    if (c.mask == "documents_causal" && c.schedule != vkattn::Schedule::list) {
        inputs.mask.mask = inputs.mask.mask && vkattn::sliding_window(vkattn::param("keys_back"));
        inputs.bindings.scalars["keys_back"] = 40;
    }
    return inputs;
}

// "64 of 32 to 64": the driver's own choice, and what a pipeline can require.
std::string subgroup_text(const vkattn::Capabilities& able) {
    std::string text = std::to_string(able.subgroup_size);
    if (able.max_subgroup_size != 0 && able.min_subgroup_size != able.max_subgroup_size)
        text += " of " + std::to_string(able.min_subgroup_size) + " to " + std::to_string(able.max_subgroup_size);
    return text;
}

// "16x16x16 f16", in the driver's order.
std::vector<std::string> matrix_texts(const vkattn::Capabilities& able) {
    std::vector<std::string> texts;
    for (const vkattn::MatrixShape& shape : able.matrix_shapes)
        texts.push_back(std::to_string(shape.m) + "x" + std::to_string(shape.n) + "x" + std::to_string(shape.k) + " " +
                        std::string(to_string(shape.type)));
    return texts;
}

std::string figure(const std::optional<uint64_t>& value) { return value ? std::to_string(*value) : ""; }

uint32_t constant(const PipelineRecord& pipeline, uint32_t id) {
    for (const auto& [known, value] : pipeline.constants)
        if (known == id) return value;
    return 0;
}

#define SPEC(id, name, value) constexpr uint32_t SPEC_##name = id;
#include "shaders/include/spec_constants.h"
constexpr std::pair<std::string_view, uint32_t> spec_names[] = {
#define SPEC(id, name, value) {#name, id},
#include "shaders/include/spec_constants.h"
};

Changes changes_of(const std::string& text) {
    Changes changes;
    std::istringstream words(text);
    for (std::string word; words >> word;) {
        const size_t equals = word.find('=');
        const std::string name = word.substr(0, equals);
        const auto value =
            static_cast<uint32_t>(std::strtoul(equals == std::string::npos ? "" : &word[equals + 1], nullptr, 10));
        const auto* const spec = std::find_if(std::begin(spec_names), std::end(spec_names),
                                              [&](const auto& known) { return known.first == name; });
        if (name == "subgroup") changes.subgroup_size = value;
        else if (spec != std::end(spec_names)) changes.constants.emplace_back(spec->second, value);
        else FAIL("VKATTN_VENDORS_TRY: " << name << " is neither 'subgroup' nor a name in spec_constants.h");
    }
    return changes;
}

// The driver's device, an engine on it that keeps no pipeline from run to run, and what came of the pipelines.
class Vendor {
  public:
    Vendor() : key_(environment("VKATTN_VENDORS_KEY", "here")), context_(options()) {
        collect_pipelines(context_, changes_of(environment("VKATTN_VENDORS_TRY")));
        VkPipelineCacheCreateInfo cache_info{};
        cache_info.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO;
        REQUIRE(context_.vk.vkCreatePipelineCache(context_.device, &cache_info, nullptr, &cache_) == VK_SUCCESS);
        vkattn::HostDevice host;
        host.instance = context_.instance;
        host.physical_device = context_.physical_device;
        host.device = context_.device;
        host.get_instance_proc_addr = collecting_get_instance_proc_addr;
        host.allocator = counting_allocator();
        host.pipeline_cache = cache_;
        host.enabled = context_.enabled;
        vkattn::EngineOptions engine_options;
        engine_options.compiler = test_compiler();
        engine_options.cache_directory = environment("VKATTN_VENDORS_CACHE");
        auto engine = vkattn::Engine::create(host, engine_options);
        if (!engine) FAIL("Engine::create: " << engine.status().message);
        engine_ = *std::move(engine);
        if (!context_.software) expected_ = expectations_of(context_.driver);
    }
    ~Vendor() {
        engine_.reset();
        context_.vk.vkDestroyPipelineCache(context_.device, cache_, nullptr);
    }
    Vendor(const Vendor&) = delete;
    Vendor& operator=(const Vendor&) = delete;

    std::string replay(const AttentionCase& c) const {
        return "replay: tests/vendors.sh --device " + key_ + " --replay '" + to_text(c) + "'   # " +
               context_.properties.deviceName + ", " + context_.driver;
    }

    // The whole host path: plan, make_args, bind, record, submit, wait.
    void run(const AttentionCase& c) {
        if (c.addressing == vkattn::Addressing::address && !context_.enabled.buffer_device_address) return;
        std::printf("case: %s\n", to_text(c).c_str());
        std::fflush(stdout);  // a driver that crashes leaves the line behind
        INFO(replay(c));
        CHECK(read_case(to_text(c)).ok());  // or the line would replay nothing
        RunOptions options;
        options.context = &context_;
        options.engine = engine_.get();
        options.build_lists = c.schedule == vkattn::Schedule::list && c.encoding == vkattn::ListEncoding::indices;
        const Inputs inputs = inputs_of(c);
        const size_t before = collected_pipelines().size();
        Call call(c, inputs, options);
        REQUIRE(call.ran());
        VkCommandBuffer cmd = context_.begin();
        if (options.build_lists) call.record_block_lists(cmd);
        call.record(cmd, {0, 1});
        context_.submit_and_wait(cmd);
        const vkattn::PlanReport report = call.collect().report;  // guards, messages, allocations
        cases_.resize(before, c);
        cases_.resize(collected_pipelines().size(), c);
        for (size_t i = before; i < cases_.size(); i++) check_budget(collected_pipelines()[i], report);
    }

    void check_reports() const {
        const vkattn::Capabilities& device = engine_->capabilities();
        CHECK(device.subgroup_size > 0);
        CHECK(device.max_shared_bytes >= 16384);
        CHECK(device.max_invocations >= 128);
        for (const std::string& reason : device.reasons) {
            INFO(reason);
            CHECK(reason.find(':') != std::string::npos);  // what is missing: why
        }
        std::printf("device: %s, %s\n", context_.properties.deviceName, context_.driver.c_str());
        for (const std::string& reason : device.reasons) std::printf("  %s\n", reason.c_str());
        if (expected_ != nullptr) return check_features();
        if (context_.software) return;
        std::printf("no expectations: there are none for %s, only for Mesa %s (tests/vendors/expectations.h); held are "
                    "only the "
                    "budgets that do not depend on the version\n",
                    context_.driver.c_str(), known_versions().c_str());
    }

    void write() const {
        const std::string folder = environment("VKATTN_VENDORS_OUT");
        if (folder.empty()) return;
        const auto& pipelines = collected_pipelines();
        std::ofstream csv(folder + "/" + key_ + ".csv");
        for (size_t i = 0; i < pipelines.size(); i++) {
            const PipelineRecord& p = pipelines[i];
            const AttentionCase& c = cases_[i];
            const Statistics& s = p.statistics;
            csv << key_ << ',' << p.kernel.data() << ',' << to_string(c.k_type) << ',' << c.head_dim << ','
                << c.value_dim << ',' << c.mask << ',' << c.score << ',' << constant(p, SPEC_WORKGROUP_SIZE) << ','
                << constant(p, SPEC_TILE_ROWS) << ',' << constant(p, SPEC_MICRO_ROWS) << ','
                << constant(p, SPEC_STEP_KEYS) << ',' << constant(p, SPEC_SCHEDULE) << ',' << s.subgroup_size << ','
                << figure(s.registers) << ',' << figure(s.spills) << ',' << figure(s.scratch_bytes) << ','
                << figure(s.shared_bytes) << ',' << figure(s.occupancy) << ',' << figure(s.instructions) << ','
                << figure(s.matrix_instructions) << ',' << static_cast<int64_t>(p.create_ms + 0.5) << ','
                << mesa_version(context_.driver) << ',' << to_text(c) << '\n';
        }
        CHECK(csv.flush().good());
        std::ofstream device(folder + "/" + key_ + ".json");
        device << report_of(pipelines).dump(2) << '\n';
        CHECK(device.flush().good());
    }

  private:
    std::string key_;
    VulkanContext context_;
    VkPipelineCache cache_ = VK_NULL_HANDLE;
    std::unique_ptr<vkattn::Engine> engine_;
    std::vector<AttentionCase> cases_;  // the case that made a pipeline
    const Expectations* expected_ = nullptr;

    // What docs/devices.md says of the device (tests/conformance/checked_devices.h).
    nlohmann::ordered_json report_of(const std::vector<PipelineRecord>& pipelines) const {
        const vkattn::Capabilities& able = engine_->capabilities();
        nlohmann::ordered_json report = {{"means", "compiled"},
                                         {"key", key_},
                                         {"stands_for", environment("VKATTN_VENDORS_NAME", "a device that is here")},
                                         {"device", context_.properties.deviceName},
                                         {"driver", context_.driver},
                                         {"subgroup_sizes", subgroup_text(able)},
                                         {"max_shared_bytes", able.max_shared_bytes},
                                         {"matrix_shapes", matrix_texts(able)},
                                         {"pipelines", pipelines.size()}};
        uint64_t over_budget = 0;
        std::map<std::string, nlohmann::ordered_json> kernels;
        for (const PipelineRecord& p : pipelines) {
            const Statistics& s = p.statistics;
            over_budget += s.spills.value_or(0) > max_spills || s.scratch_bytes.value_or(0) > max_scratch_bytes ? 1 : 0;
            auto& kernel = kernels.try_emplace(p.kernel.data(), nlohmann::ordered_json::object()).first->second;
            kernel["pipelines"] = kernel.value("pipelines", 0) + 1;
            if (s.registers.value_or(0) != 0)
                kernel["registers"] = std::max(kernel.value("registers", uint64_t{0}), *s.registers);
            if (s.occupancy) kernel["occupancy"] = std::min(kernel.value("occupancy", UINT64_MAX), *s.occupancy);
            if (s.matrix_instructions)
                kernel["matrix_instructions"] =
                    std::min(kernel.value("matrix_instructions", UINT64_MAX), *s.matrix_instructions);
        }
        report["over_budget"] = over_budget;
        report["kernels"] = kernels;
        return report;
    }

    static ContextOptions options() {
        ContextOptions options;
        options.pipeline_statistics = true;
        return options;
    }

    void check_features() const {
        const vkattn::Capabilities& able = engine_->capabilities();
        std::set<std::string_view> types;
        for (const vkattn::MatrixShape& shape : able.matrix_shapes) types.insert(to_string(shape.type));
        std::string matrices;
        for (const std::string_view type : types) matrices += (matrices.empty() ? "" : " ") + std::string(type);
        bool known = false;
        for (const ExpectedDevice& device : expected_->devices) {
            if (device.key != key_) continue;
            known = true;
            CHECK(able.subgroup_size == device.subgroup_size);
            CHECK(able.min_subgroup_size == device.min_subgroup_size);
            CHECK(able.max_subgroup_size == device.max_subgroup_size);
            CHECK(able.max_shared_bytes == device.shared_kib * 1024);
            CHECK(able.features.buffer_device_address);
            CHECK(able.features.scalar_subgroup);
            CHECK(able.features.subgroup_size_control);
            CHECK(matrices == device.matrices);
        }
        INFO("expectations.h would have {\"" << key_ << "\", " << able.subgroup_size << ", " << able.min_subgroup_size
                                             << ", " << able.max_subgroup_size << ", " << able.max_shared_bytes / 1024
                                             << ", \"" << matrices << "\"},");
        CHECK(known);
    }

    void check_budget(const PipelineRecord& p, const vkattn::PlanReport& report) {
        const Statistics& s = p.statistics;
        INFO("kernel " << std::string(p.kernel.data()));
        CHECK(p.kernel[0] != '\0');  // a pipeline that a case makes is one that it uses
        CHECK(s.spills.value_or(0) <= max_spills);
        CHECK(s.scratch_bytes.value_or(0) <= max_scratch_bytes);
        CHECK(s.shared_bytes.value_or(0) <= (s.matrix_instructions ? max_matrix_shared_bytes : max_shared_bytes));
        if (s.shared_bytes && std::string_view(p.kernel.data()).rfind("attention_", 0) == 0) {
            CHECK(*s.shared_bytes + max_unused_shared_bytes >= report.shared_bytes);
            CHECK(*s.shared_bytes <= report.shared_bytes + shared_granule_bytes);
        }
        if (s.matrix_instructions) CHECK(*s.matrix_instructions > 0);
        if (expected_ != nullptr)
            for (const OccupancyFloor& floor : expected_->floors)
                if (context_.driver.rfind(floor.driver, 0) == 0 && floor.kernel == p.kernel.data())
                    CHECK(s.occupancy.value_or(0) >= floor.at_least);
        if (!context_.software) {
            CHECK(context_.pipeline_statistics);
            CHECK(s.spills.has_value());
            CHECK(s.instructions.value_or(0) > 0);
        }
    }
};

}  // namespace

TEST_CASE("every pipeline of the table of problems compiles within budget, and the host path is valid") {
    Vendor vendor;
    vendor.check_reports();
    if (const std::string replay = environment("VKATTN_REPLAY"); !replay.empty()) {
        vendor.run(parse_case(replay));
        vendor.write();
        return;
    }
    for (const AttentionCase& c : table_of_problems()) vendor.run(c);
    vendor.write();
}

TEST_CASE("expectations are found by the version that drivers state") {
    CHECK(mesa_version("radv Mesa 26.1.6-1 (LLVM 21.1.8)") == "26.1.6");
    CHECK(mesa_version("Intel open-source Mesa driver Mesa 26.1.6-1") == "26.1.6");
    CHECK(mesa_version("turnip Mesa driver Mesa 27.0.0-devel") == "27.0.0");
    CHECK(mesa_version("NVIDIA 580.82.07").empty());
    CHECK(expectations_of("NVK Mesa 26.1.6-1") != nullptr);
    CHECK(expectations_of("NVK Mesa 26.1.60") == nullptr);
    CHECK(expectations_of("NVIDIA 580.82.07") == nullptr);
}
