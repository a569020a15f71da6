// Bad arguments: each is refused before anything is recorded, by a message that names what is wrong.
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "harness/numbers.h"
#include "harness/run_attention.h"
#include "vkattn/classify.h"
#include "vkattn/named.h"

using namespace vkattn_tests;
using vkattn::ArgsInfo;
using vkattn::Buffers;
using vkattn::Code;
using vkattn::Problem;
using vkattn::Strides;

namespace {

vkattn::Mask windowed() { return vkattn::sliding_window(vkattn::param("w")) && vkattn::document(vkattn::table("doc")); }

Problem good_problem() {
    Problem problem;
    problem.max_shape = {2, 4, 2, 128, 128};
    problem.head_dim = 16;
    problem.mask = windowed();
    problem.tables = {{"doc", {128}}};
    return problem;
}

ArgsInfo good_args() {
    ArgsInfo info;
    info.shape = {2, 4, 2, 100, 120};
    info.bindings.scalars["w"] = 10;
    info.bindings.tables["doc"] = i32_table({120}, std::vector<int32_t>(120, 1));
    return info;
}

// Every word must occur in the message, and the status must be an error of the caller's.
void check_refused(const std::string& what, const vkattn::Status& status, const std::vector<std::string>& words) {
    INFO(what << " gave: " << status.message);
    CHECK_FALSE(status.ok());
    CHECK((status.code == Code::invalid_argument || status.code == Code::limit_exceeded ||
           status.code == Code::unsupported || status.code == Code::invalid_text));
    for (const std::string& word : words)
        CHECK_MESSAGE(status.message.find(word) != std::string::npos, "no '" << word << "' in it");
}

}  // namespace

TEST_SUITE_BEGIN("arguments");

TEST_CASE("problems") {
    struct Row {
        const char* what;
        std::function<void(Problem&)> change;
        std::vector<std::string> words;
    };
    const std::vector<Row> rows = {
        {"head_dim 0", [](Problem& p) { p.head_dim = 0; }, {"head_dim", "0", "576"}},
        {"head_dim 577", [](Problem& p) { p.head_dim = 577; }, {"head_dim", "577", "576"}},
        {"head_dim -4", [](Problem& p) { p.head_dim = -4; }, {"head_dim", "-4"}},
        {"value_dim 577", [](Problem& p) { p.value_dim = 577; }, {"value_dim", "577"}},
        {"value_dim -1", [](Problem& p) { p.value_dim = -1; }, {"value_dim", "-1"}},
        {"batch 0", [](Problem& p) { p.max_shape.batch = 0; }, {"batch"}},
        {"q_heads 0", [](Problem& p) { p.max_shape.q_heads = 0; }, {"q_heads"}},
        {"kv_heads 0", [](Problem& p) { p.max_shape.kv_heads = 0; }, {"kv_heads"}},
        {"q_len -1", [](Problem& p) { p.max_shape.q_len = -1; }, {"q_len", "-1"}},
        {"kv_len -1", [](Problem& p) { p.max_shape.kv_len = -1; }, {"kv_len", "-1"}},
        {"4 heads on 3", [](Problem& p) { p.max_shape.kv_heads = 3; }, {"4", "3", "heads"}},
        {"block_q alone", [](Problem& p) { p.block_q = 128; }, {"block_q", "block_kv"}},
        {"negative blocks", [](Problem& p) { p.block_q = p.block_kv = -128; }, {"block_q"}},
        {"lists without blocks", [](Problem& p) { p.schedule = vkattn::Schedule::list; }, {"list", "block_q"}},
        {"blocks that are no multiple of the tile",
         [](Problem& p) { p.block_q = p.block_kv = 100; },
         {"block_q", "100", "tile"}},
        {"time cap 0", [](Problem& p) { p.max_dispatch_ms = 0.0; }, {"max_dispatch_ms"}},
        {"time cap NaN",
         [](Problem& p) { p.max_dispatch_ms = std::numeric_limits<double>::quiet_NaN(); },
         {"max_dispatch_ms"}},
        {"no bound for a table", [](Problem& p) { p.tables.clear(); }, {"doc", "bound"}},
        {"a broken mask",
         [](Problem& p) {
             p.mask = vkattn::Mask::broken(vkattn::error(Code::invalid_text, "the mask is broken here"));
         },
         {"the mask is broken here"}},
        {"a broken score mod",
         [](Problem& p) {
             p.score_mod = vkattn::ScoreMod::broken(vkattn::error(Code::invalid_text, "the score mod is broken here"));
         },
         {"the score mod is broken here"}},
    };
    for (const Row& row : rows) {
        Problem problem = good_problem();
        row.change(problem);
        auto plan = shared_engine().plan(problem);
        check_refused(row.what, plan.ok() ? vkattn::Status{} : plan.status(), row.words);
    }
    auto good = shared_engine().plan(good_problem());
    CHECK_MESSAGE(good.ok(), good.status().message);
}

TEST_CASE("args") {
    auto plan = shared_engine().plan(good_problem());
    REQUIRE_MESSAGE(plan.ok(), plan.status().message);
    struct Row {
        const char* what;
        std::function<void(ArgsInfo&)> change;
        std::vector<std::string> words;
    };
    const std::vector<Row> rows = {
        {"batch above the bound", [](ArgsInfo& a) { a.shape.batch = 3; }, {"batch", "3", "2"}},
        {"q_heads above the bound", [](ArgsInfo& a) { a.shape.q_heads = 8; }, {"q_heads", "8", "4"}},
        {"kv_heads above the bound", [](ArgsInfo& a) { a.shape.kv_heads = 4; }, {"kv_heads", "4", "2"}},
        {"q_len above the bound", [](ArgsInfo& a) { a.shape.q_len = 129; }, {"q_len", "129", "128"}},
        {"kv_len above the bound", [](ArgsInfo& a) { a.shape.kv_len = 129; }, {"kv_len", "129", "128"}},
        {"kv_len -1", [](ArgsInfo& a) { a.shape.kv_len = -1; }, {"kv_len", "-1"}},
        {"heads that do not divide", [](ArgsInfo& a) { a.shape.q_heads = 3; }, {"3", "2", "heads"}},
        {"batch 0", [](ArgsInfo& a) { a.shape.batch = 0; }, {"batch"}},
        {"negative stride",
         [](ArgsInfo& a) {
             a.q = Strides{-64, 16, 64};
         },
         {"q", "-64"}},
        {"a stride beyond 32 bits",
         [](ArgsInfo& a) {
             a.v = Strides{1ll << 33, 16, 64};
         },
         {"v", "8589934592"}},
        {"a stride that is no multiple of four",
         [](ArgsInfo& a) {
             a.k = Strides{4096, 1024, 18};
         },
         {"k", "18", "k_aligned"}},
        {"o broadcast",
         [](ArgsInfo& a) {
             a.o = Strides{0, 1600, 16};
         },
         {"o", "overlap"}},
        {"rows of o that overlap",
         [](ArgsInfo& a) {
             a.o = Strides{8192, 2048, 12};
         },
         {"o", "overlap"}},
        {"heads of o that overlap",
         [](ArgsInfo& a) {
             a.o = Strides{8192, 800, 16};
         },
         {"o", "overlap"}},
        {"scale NaN", [](ArgsInfo& a) { a.scale = std::numeric_limits<float>::quiet_NaN(); }, {"scale"}},
        {"scale infinite", [](ArgsInfo& a) { a.scale = std::numeric_limits<float>::infinity(); }, {"scale"}},
        {"no value for w", [](ArgsInfo& a) { a.bindings.scalars.clear(); }, {"w"}},
        {"a float for an integer", [](ArgsInfo& a) { a.bindings.scalars["w"] = 1.5f; }, {"w"}},
        {"no table", [](ArgsInfo& a) { a.bindings.tables.clear(); }, {"doc"}},
        {"a null table", [](ArgsInfo& a) { a.bindings.tables["doc"] = nullptr; }, {"doc"}},
        {"a table of floats for integers",
         [](ArgsInfo& a) { a.bindings.tables["doc"] = f32_table({120}, std::vector<float>(120, 1.0f)); },
         {"doc"}},
        {"a table of two dimensions",
         [](ArgsInfo& a) {
             a.bindings.tables["doc"] = i32_table({12, 10}, std::vector<int32_t>(120, 1));
         },
         {"doc"}},
        {"a table that is shorter than it says",
         [](ArgsInfo& a) { a.bindings.tables["doc"] = i32_table({120}, std::vector<int32_t>(119, 1)); },
         {"doc", "119"}},
        {"an empty table", [](ArgsInfo& a) { a.bindings.tables["doc"] = i32_table({0}, {}); }, {"doc"}},
        {"a table beyond its bound",
         [](ArgsInfo& a) { a.bindings.tables["doc"] = i32_table({1200}, std::vector<int32_t>(1200, 1)); },
         {"4800", "512"}},
    };
    for (const Row& row : rows) {
        ArgsInfo info = good_args();
        row.change(info);
        auto args = plan->make_args(info);
        check_refused(row.what, args.ok() ? vkattn::Status{} : args.status(), row.words);
    }
    auto good = plan->make_args(good_args());
    CHECK_MESSAGE(good.ok(), good.status().message);
}

TEST_CASE("args: the ratio of heads is the plan's") {
    // Problem::max_shape fixes q_heads / kv_heads; another ratio within the bounds is refused, or right.
    AttentionCase c;
    c.shape = {1, 4, 2, 20, 30};
    Problem problem = problem_of(c, make_inputs(c));
    auto plan = shared_engine().plan(problem);
    REQUIRE(plan.ok());
    ArgsInfo info;
    info.shape = {1, 4, 1, 20, 30};
    auto args = plan->make_args(info);
    if (!args.ok()) check_refused("another ratio", args.status(), {"heads"});
}

TEST_CASE("lists") {
    Problem problem = good_problem();
    problem.mask = vkattn::sliding_window(vkattn::param("w"));
    problem.tables.clear();
    problem.block_q = problem.block_kv = 128;
    problem.schedule = vkattn::Schedule::list;
    auto plan = shared_engine().plan(problem);
    REQUIRE_MESSAGE(plan.ok(), plan.status().message);
    ArgsInfo good = good_args();
    good.bindings.tables.clear();
    const auto classified = [&](const vkattn::Mask& mask, vkattn::Shape shape, int32_t block) {
        vkattn::ClassifyOptions options;
        options.block_q = options.block_kv = block;
        auto list = vkattn::create_block_mask(mask, shape, good.bindings, options);
        REQUIRE_MESSAGE(list.ok(), list.status().message);
        return *list;
    };
    const vkattn::BlockMask fitting = classified(problem.mask, good.shape, 128);
    const auto refused = [&](const char* what, const vkattn::BlockMask* list, std::vector<std::string> words) {
        ArgsInfo info = good;
        info.block_mask = list;
        auto args = plan->make_args(info);
        check_refused(what, args.ok() ? vkattn::Status{} : args.status(), words);
    };
    refused("no list", nullptr, {"block_mask"});
    const vkattn::BlockMask other_blocks = classified(problem.mask, good.shape, 64);
    refused("other blocks", &other_blocks, {"64", "128"});
    const vkattn::BlockMask other_mask = classified(vkattn::causal(), good.shape, 128);
    refused("another mask's list", &other_mask, {"mask"});
    const vkattn::BlockMask smaller = classified(problem.mask, {2, 4, 2, 50, 60}, 128);
    refused("a list of a smaller plane", &smaller, {"60", "120"});
    vkattn::BlockMask broken = fitting;
    broken.batch = 5;
    refused("a list of five batch entries", &broken, {});
    broken = fitting;
    broken.row_offsets.pop_back();
    refused("a list without its last offset", &broken, {});
    broken = fitting;
    broken.row_offsets.back() += 1;
    refused("offsets beyond the runs", &broken, {});
    broken = fitting;
    REQUIRE_FALSE(broken.runs.empty());
    broken.runs[0].n_blocks = 1000000;
    refused("a run beyond the columns", &broken, {});
    broken = fitting;
    broken.block_kv = 0;
    refused("blocks of no keys", &broken, {});
    ArgsInfo info = good;
    info.block_mask = &fitting;
    CHECK(plan->make_args(info).ok());
}

TEST_CASE(
    "a plan has room for the tables and the list that it was made for, also where their words are odd in number") {
    for (const int64_t ids : {127, 128}) {
        Problem problem = good_problem();
        problem.max_shape = {1, 1, 1, 128, 128};
        problem.mask = vkattn::document(vkattn::table("doc"));
        problem.tables = {{"doc", {ids}}};
        problem.block_q = problem.block_kv = 128;
        problem.schedule = vkattn::Schedule::list;
        auto plan = shared_engine().plan(problem);
        REQUIRE_MESSAGE(plan.ok(), plan.status().message);
        ArgsInfo info;
        info.shape = problem.max_shape;
        info.bindings.tables["doc"] = i32_table({ids}, std::vector<int32_t>(static_cast<size_t>(ids), 1));
        auto list = vkattn::create_block_mask(problem.mask, info.shape, info.bindings);
        REQUIRE(list.ok());
        info.block_mask = &*list;
        auto args = plan->make_args(info);
        CHECK_MESSAGE(args.ok(), args.status().message);
    }
}

TEST_CASE("buffers") {
    VulkanContext& context = VulkanContext::shared();
    for (vkattn::Addressing addressing : {vkattn::Addressing::address, vkattn::Addressing::binding}) {
        if (addressing == vkattn::Addressing::address && !context.enabled.buffer_device_address) continue;
        Problem problem = good_problem();
        problem.addressing = addressing;
        auto plan = shared_engine().plan(problem);
        REQUIRE_MESSAGE(plan.ok(), plan.status().message);
        ArgsInfo info = good_args();
        info.write_lse = true;
        auto args = plan->make_args(info);
        REQUIRE(args.ok());
        const DeviceBuffer q(context, 65536), k(context, 65536), v(context, 65536), o(context, 65536),
            lse(context, 16384), work(context, plan->workspace_bytes() + 4096), tables(context, 4096);
        Buffers good;
        good.q.buffer = q.handle;
        good.k.buffer = k.handle;
        good.v.buffer = v.handle;
        good.o.buffer = o.handle;
        good.lse.buffer = lse.handle;
        good.work.buffer = work.handle;
        good.tables.buffer = tables.handle;
        struct Row {
            const char* what;
            std::function<void(Buffers&)> change;
            std::vector<std::string> words;
        };
        const std::vector<Row> rows = {
            {"no q", [](Buffers& b) { b.q = {}; }, {"q"}},
            {"no k", [](Buffers& b) { b.k = {}; }, {"k"}},
            {"no v", [](Buffers& b) { b.v = {}; }, {"v"}},
            {"no o", [](Buffers& b) { b.o = {}; }, {"o"}},
            {"no work", [](Buffers& b) { b.work = {}; }, {"work"}},
            {"no tables", [](Buffers& b) { b.tables = {}; }, {"tables"}},
            {"no lse though asked for", [](Buffers& b) { b.lse = {}; }, {"lse"}},
            {"q offset of two bytes", [](Buffers& b) { b.q.offset = 2; }, {"q", "2"}},
            {"k offset of one element, aligned", [](Buffers& b) { b.k.offset = 4; }, {"k", "4", "k_aligned"}},
            {"tables offset of two bytes", [](Buffers& b) { b.tables.offset = 2; }, {"tables"}},
            {"work offset of four bytes", [](Buffers& b) { b.work.offset = 4; }, {"work"}},
            {"work too small", [](Buffers& b) { b.work.size = 64; }, {"work"}},
            {"tables too small", [](Buffers& b) { b.tables.size = 64; }, {"tables"}},
            {"k too small", [](Buffers& b) { b.k.size = 1024; }, {"k", "1024"}},
            {"o too small", [](Buffers& b) { b.o.size = 51196; }, {"o", "51196", "51200"}},
            {"lse too small", [](Buffers& b) { b.lse.size = 3196; }, {"lse", "3200"}},
            {"an empty range of v", [](Buffers& b) { b.v.size = 0; }, {"v", "empty"}},
            {"k begins past its buffer", [](Buffers& b) { b.k.offset = 1u << 20; }, {"k", "leaves"}},
            {"v ends past its buffer", [](Buffers& b) { b.v.size = 1u << 20; }, {"v", "leaves"}},
            {"o's end wraps around",
             [](Buffers& b) {
                 b.o.offset = 256;
                 b.o.size = UINT64_MAX - 128;
             },
             {"o", "leaves"}},
            {"q ends before its last row", [](Buffers& b) { b.q.offset = 16384; }, {"q", "51200"}},
        };
        for (const Row& row : rows) {
            Buffers buffers = good;
            row.change(buffers);
            context.clear_messages();
            auto binding = plan->bind(buffers);
            const vkattn::Status status = binding.ok() ? plan->check(*binding, *args) : binding.status();
            check_refused(row.what, status, row.words);
            CHECK_MESSAGE(context.messages().empty(), context.message_text());
        }
        auto binding = plan->bind(good);
        REQUIRE_MESSAGE(binding.ok(), binding.status().message);
        const vkattn::Status fits = plan->check(*binding, *args);
        CHECK_MESSAGE(fits.ok(), fits.message);

        auto other = shared_engine().plan(problem);
        REQUIRE(other.ok());
        auto foreign = other->bind(good);
        REQUIRE(foreign.ok());
        check_refused("another plan's binding", plan->check(*foreign, *args), {"plan"});
    }
}

TEST_CASE("hosts") {
    VulkanContext& context = VulkanContext::shared();
    vkattn::HostDevice good;
    good.instance = context.instance;
    good.physical_device = context.physical_device;
    good.device = context.device;
    good.get_instance_proc_addr = spy_get_instance_proc_addr;
    good.enabled = context.enabled;
    struct Row {
        const char* what;
        std::function<void(vkattn::HostDevice&)> change;
        std::vector<std::string> words;
    };
    const std::vector<Row> rows = {
        {"no instance", [](vkattn::HostDevice& h) { h.instance = VK_NULL_HANDLE; }, {"VkInstance"}},
        {"no physical device", [](vkattn::HostDevice& h) { h.physical_device = VK_NULL_HANDLE; }, {"physical"}},
        {"no device", [](vkattn::HostDevice& h) { h.device = VK_NULL_HANDLE; }, {"device"}},
        {"no function pointer",
         [](vkattn::HostDevice& h) { h.get_instance_proc_addr = nullptr; },
         {"vkGetInstanceProcAddr"}},
        {"a struct of another version", [](vkattn::HostDevice& h) { h.struct_size = 8; }, {"struct_size"}},
    };
    for (const Row& row : rows) {
        vkattn::HostDevice host = good;
        row.change(host);
        auto engine = vkattn::Engine::create(host);
        check_refused(row.what, engine.ok() ? vkattn::Status{} : engine.status(), row.words);
    }
}

TEST_CASE("without a compiler a mask of the caller's own is refused with the way out, and nothing crashes") {
    VulkanContext& context = VulkanContext::shared();
    vkattn::HostDevice host;
    host.instance = context.instance;
    host.physical_device = context.physical_device;
    host.device = context.device;
    host.get_instance_proc_addr = spy_get_instance_proc_addr;
    host.enabled = context.enabled;
    auto engine = vkattn::Engine::create(host);
    REQUIRE_MESSAGE(engine.ok(), engine.status().message);
    Problem problem = good_problem();
    problem.mask = vkattn::trace_mask([](vkattn::Index b, vkattn::Index h, vkattn::Index q, vkattn::Index kv) {
        return (q * 31 + kv * 17 + b + h) % 7 == 3;
    });
    auto plan = (*engine)->plan(problem);
    check_refused("no compiler", plan.ok() ? vkattn::Status{} : plan.status(), {"compiler"});
}

TEST_SUITE_END();
