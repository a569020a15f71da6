#include "case_runner.h"

#include <algorithm>
#include <bit>
#include <optional>

#include "harness/call_memory.h"
#include "support/buffer.h"
#include "support/submit.h"

namespace vkattn_tests {
namespace {

using vkattn::Code;
using vkattn::PaddedBlocks;
using vkattn::Result;
using vkattn::Status;
using vkattn::support::Buffer;
using vkattn::support::Device;

// How the whole is recorded.
struct Recording {
    uint32_t slices = 1;
    bool backwards_in_submits_of_their_own = false;
};

struct Output {
    Values o;
    std::vector<float> lse;
    std::optional<PaddedBlocks> lists;  // that the device made
};

// Everything of a call that one run after the other uses.
struct Planned {
    vkattn::Plan plan;
    vkattn::Args args;
    uint64_t tables_bytes = 0;
    bool makes_lists = false;
};

Status about(const char* what, Status status) {
    status.message = std::string(what) + ": " + status.message;
    return status;
}

Result<Output> run_once(const Device& device, const Planned& planned, const AttentionCase& c, const Inputs& inputs,
                        const Recording& how) {
    CallMemory memory(c, inputs, planned.tables_bytes, planned.plan.workspace_bytes());
    std::vector<uint8_t> tables(planned.args.tables_bytes());
    planned.args.write_tables(tables);
    memory.write_tables(tables, planned.makes_lists ? planned.args.list_layout().num_blocks : UINT64_MAX);

    std::array<Buffer, n_rooms> buffers;
    std::array<VkBuffer, n_rooms> handles{};
    for (size_t i = 0; i < n_rooms; i++) {
        if (memory.room(i).bytes().empty()) continue;
        auto buffer = Buffer::create(device, memory.room(i).bytes().size());
        if (!buffer) return about(room_names[i], buffer.status());
        buffers[i] = std::move(*buffer);
        if (Status status = buffers[i].upload_bytes(memory.room(i).bytes()); !status.ok())
            return about(room_names[i], status);
        handles[i] = buffers[i].handle();
    }
    auto binding = planned.plan.bind(memory.ranges(handles));
    if (!binding) return about("bind", binding.status());
    if (Status status = planned.plan.check(*binding, planned.args); !status.ok()) return about("check", status);

    Status lists_status;
    const auto submit = [&](uint32_t first, uint32_t n) -> Status {
        Status status = vkattn::support::submit(device, [&](VkCommandBuffer commands) {
            if (planned.makes_lists && first == 0)
                lists_status = planned.plan.record_block_lists(commands, *binding, planned.args);
            for (uint32_t i = first; i < first + n; i++) {
                const uint32_t slice = how.backwards_in_submits_of_their_own ? how.slices - 1 - i : i;
                planned.plan.record(commands, *binding, planned.args, {slice, how.slices});
            }
        });
        return lists_status.ok() ? status : about("record_block_lists", lists_status);
    };
    const uint32_t step = how.backwards_in_submits_of_their_own ? 1 : how.slices;
    for (uint32_t first = 0; first < how.slices; first += step)
        if (Status status = submit(first, step); !status.ok()) return status;

    std::array<std::vector<uint8_t>, n_rooms> now;
    for (size_t i = 0; i < n_rooms; i++) {
        now[i].resize(memory.room(i).bytes().size());
        if (now[i].empty()) continue;
        if (Status status = buffers[i].download_bytes(now[i]); !status.ok()) return about(room_names[i], status);
        const std::string damage = memory.room(i).damage(room_names[i], now[i].data());
        if (!damage.empty()) return vkattn::error(Code::device_error, "a write outside of its tensor: " + damage);
    }
    Output output;
    output.o = memory.read_o(now[room_o].data());
    output.lse = memory.read_lse(now[room_lse].data());
    if (planned.makes_lists) output.lists = memory.read_lists(planned.args.list_layout(), now[room_tables].data());
    return output;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](float x, float y) {
               return std::bit_cast<uint32_t>(x) == std::bit_cast<uint32_t>(y);
           });
}

// The entries behind the counts are free.
std::string difference(const PaddedBlocks& made, const PaddedBlocks& wanted) {
    if (made.rows != wanted.rows || made.columns != wanted.columns || made.batch != wanted.batch ||
        made.heads != wanted.heads)
        return "lists made on the device are of another size than the host's";
    const auto columns = static_cast<size_t>(wanted.columns);
    for (size_t row = 0; row < wanted.num_blocks.size(); row++) {
        const auto count_in = [&](const std::vector<int32_t>& counts) {
            return counts.empty() ? size_t{0} : static_cast<size_t>(counts[row]);
        };
        const auto same = [&](const std::vector<int32_t>& a, const std::vector<int32_t>& b, size_t count) {
            const auto from = static_cast<int64_t>(row * columns);
            return std::equal(a.begin() + from, a.begin() + from + static_cast<int64_t>(count), b.begin() + from);
        };
        const size_t partial = count_in(wanted.num_blocks), full = count_in(wanted.full_num_blocks);
        if (count_in(made.num_blocks) != partial || count_in(made.full_num_blocks) != full ||
            !same(made.indices, wanted.indices, partial) ||
            (full > 0 && !same(made.full_indices, wanted.full_indices, full)))
            return "block row " + std::to_string(row) + " of the lists made on the device is not the host's";
    }
    return {};
}

CaseOutcome failed(CaseOutcome outcome, const Status& status) {
    outcome.state = CaseOutcome::State::wrong;
    outcome.words = status.message;
    outcome.lost = status.vk_result == VK_ERROR_DEVICE_LOST;
    return outcome;
}

}  // namespace

Result<PreparedCase> prepare(const AttentionCase& c) {
    auto inputs = inputs_for(c);
    if (!inputs) return inputs.status();
    Judge judge(c, *inputs);
    return PreparedCase{std::move(*inputs), std::move(judge)};
}

CaseRunner::CaseRunner(const Device& device, const vkattn::ShaderCompiler* compiler)
    : device_(device), compiler_(compiler) {}

Result<vkattn::Engine*> CaseRunner::engine(const TestedPath& path) {
    const bool by_subgroups = !path.workgroup_matrices && device_.enabled().workgroup_matrices;
    std::unique_ptr<vkattn::Engine>& made = engines_[!path.subgroups ? 0 : by_subgroups ? 1 : 2];
    if (made == nullptr) {
        vkattn::HostDevice host = device_.host();
        if (by_subgroups) host.enabled.workgroup_matrices = false;
        if (!path.subgroups) host.enabled.scalar_subgroup = host.enabled.subgroup_size_control = false;
        vkattn::EngineOptions options;
        options.compiler = compiler_;
        auto engine = vkattn::Engine::create(host, options);
        if (!engine) return about("Engine::create", engine.status());
        made = std::move(*engine);
    }
    return made.get();
}

std::string CaseRunner::why_not(const TestedPath& path) {
    if (!path.subgroups && !device_.enabled().scalar_subgroup)
        return "the device has no subgroup operations: it is the same as with them";
    if (path.path == vkattn::Path::nv && path.workgroup_matrices && !device_.enabled().workgroup_matrices)
        return "the device has no matrices of workgroups with tensor addressing";
    auto used = engine(path);
    if (!used) return used.status().message;
    // A call that every path takes where the device offers it.
    AttentionCase c;
    c.mask = "causal";
    c.q_type = c.k_type = c.v_type = c.o_type = vkattn::ElementType::f16;
    if (path.lists != Lists::runs) c.schedule = vkattn::Schedule::list;
    c = on_path(path, c);
    auto inputs = inputs_for(c);
    if (!inputs) return inputs.status().message;
    const auto plan = (*used)->plan(on_path(path, problem_of(c, *inputs)));
    return plan || plan.status().code != Code::unsupported ? "" : plan.status().message;
}

CaseOutcome CaseRunner::run(const TestedPath& path, const AttentionCase& asked, const PreparedCase& prepared,
                            bool bits) {
    CaseOutcome outcome;
    const AttentionCase c = on_path(path, asked);
    const Inputs& inputs = prepared.inputs;
    device_.log().clear();
    auto used = engine(path);
    if (!used) return failed(outcome, used.status());
    vkattn::Problem problem = on_path(path, problem_of(c, inputs));
    if (c.shape.kv_len == 0) problem.max_shape.kv_len = 0;  // k and v may be null where no call has keys
    auto plan = (*used)->plan(problem);
    if (!plan && plan.status().code == Code::unsupported) {
        outcome.state = CaseOutcome::State::refused;
        outcome.words = plan.status().message;
        return outcome;
    }
    if (!plan) return failed(outcome, about("plan", plan.status()));
    const vkattn::PlanReport& report = plan->report();
    outcome.kernel = report.path + " " + report.skeleton + " " + report.schedule + " " + report.addressing +
                     (report.widened ? " widened" : "");

    vkattn::ArgsInfo info = args_of(c, inputs);
    std::optional<PaddedBlocks> padded;
    if (inputs.list && c.encoding == vkattn::ListEncoding::indices) {
        auto blocks = to_padded(*inputs.list);
        if (!blocks) return failed(outcome, about("to_padded", blocks.status()));
        padded = std::move(*blocks);
        info.block_mask = nullptr;
        if (path.lists == Lists::indices) info.padded_blocks = &*padded;
    }
    auto args = plan->make_args(info);
    if (!args) return failed(outcome, about("make_args", args.status()));
    const Planned planned{*plan, *args, problem.max_tables_bytes, path.lists == Lists::made_on_device};

    const auto first = run_once(device_, planned, c, inputs, {c.slices});
    if (!first) return failed(outcome, first.status());
    outcome.verdict = prepared.judge(first->o, &first->lse, report.path != "scalar");
    if (!outcome.verdict.ok()) return failed(outcome, vkattn::error(Code::device_error, outcome.verdict.wrong));
    if (first->lists)
        if (const std::string other = difference(*first->lists, *padded); !other.empty())
            return failed(outcome, vkattn::error(Code::device_error, other));

    struct Again {
        const char* name;
        Recording how;
    };
    if (bits)
        for (const Again& again : {Again{"a second run", {c.slices, false}}, Again{"three slices", {3, false}},
                                   Again{"seven slices backwards", {7, true}}}) {
            const auto other = run_once(device_, planned, c, inputs, again.how);
            if (!other) return failed(outcome, about(again.name, other.status()));
            if (!same_bits(first->o.at, other->o.at) || !same_bits(first->lse, other->lse))
                return failed(outcome, vkattn::error(Code::device_error,
                                                     std::string(again.name) + " gave other bits than the first run"));
        }
    outcome.bits_same = bits;
    const std::vector<std::string> messages = device_.log().messages();
    if (!messages.empty())
        return failed(outcome, vkattn::error(Code::device_error, "the validation layer says: " + messages.front()));
    return outcome;
}

}  // namespace vkattn_tests
