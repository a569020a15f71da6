// Sizes for attention_khr.comp and attention_nv.comp (ledger T6).
#include <algorithm>
#include <bit>

#include "device_class.h"
#include "tuning.h"
#include "variant.h"

namespace vkattn {
namespace {

constexpr uint32_t vendor_intel = 0x8086;

struct Limits {
    uint32_t acc_floats;    // of the output that an invocation keeps in registers
    uint32_t score_floats;  // of a step's scores that it softens
    uint32_t invocations;   // of a workgroup
    uint32_t tile_rows;
    uint32_t step_keys;
};

// Accumulators take at most a quarter of the 256 registers that an invocation can have; on Intel, where an invocation has 128 and the
// matrices of a multiplication take more of them the fewer share them, 8 or 16. lavapipe compiles in time that grows with the square of
// what is unrolled. Few queries are what splits of the keys are for, and with them 64 rows of 16 lanes spill (ledger T12).
Limits limits_of(const Capabilities& capabilities, const Problem& problem, uint32_t lanes) {
    if (capabilities.software) return {16, 32, 64, 32, 16};
    const bool may_split = problem.splits > 1 || problem.max_shape.q_len <= 64;
    if (capabilities.device.vendor_id == vendor_intel) return {lanes, 8, 256, lanes > 8 && may_split ? 32u : 64u, 32};
    return {64, 32, std::max(128u, 4 * lanes), 64, 32};
}

uint32_t round_up(uint32_t value, uint32_t unit) { return (value + unit - 1) / unit * unit; }

// A multiple of `unit`, near 64 and at most 96 where the unit allows it, of which a whole number covers `dim` with the least waste.
uint32_t choose_chunk(uint32_t dim, uint32_t unit) {
    uint32_t best = unit;
    for (uint32_t chunk = unit; chunk <= std::max(unit, 96u); chunk += unit)
        if (round_up(dim, chunk) <= round_up(dim, best)) best = chunk;
    return best;
}

// khr_shared.h's arrays, the kernel's 32 bytes beside them, and what the device takes for matrices of workgroups.
uint64_t count_shared_bytes(const Capabilities& capabilities, const Problem& problem, const Choice& choice) {
    const uint64_t WORKGROUP_SIZE = choice.workgroup_size, TILE_ROWS = choice.tile_rows, STEP_KEYS = choice.step_keys,
                   MATRIX_M = choice.matrix.m, MATRIX_N = choice.matrix.n, SCOPE_SIZE = choice.lanes,
                   QK_CHUNK = choice.qk_chunk, VALUE_CHUNK = choice.value_chunk,
                   HEAD_DIM = static_cast<uint64_t>(problem.head_dim),
                   VALUE_DIM = static_cast<uint64_t>(problem.value_dim);
    const bool STAGED = !choice.workgroup_matrices;
    uint64_t sum = 32 + (STAGED ? 0 : capabilities.workgroup_matrix_shared_bytes);
#define SIZE(name, value) [[maybe_unused]] const uint64_t name = value;
#define SHARED(type, bytes, name, elements) sum += bytes * (elements);
#include "khr_shared.h"
    return sum;
}

// More would leave a core with too few workgroups.
constexpr uint64_t shared_budget_bytes = 32768;

// Shapes of the type, the largest first: the most arithmetic for each element that is loaded. attention_nv multiplies what it
// converts, so that a result must have the shape of a factor.
std::vector<MatrixShape> shapes_of(const Capabilities& capabilities, ElementType type, Path path) {
    std::vector<MatrixShape> shapes;
    for (const MatrixShape& shape : capabilities.matrix_shapes)
        if (shape.type == type && (path != Path::nv || shape.n == shape.k)) shapes.push_back(shape);
    std::stable_sort(shapes.begin(), shapes.end(),
                     [](const MatrixShape& a, const MatrixShape& b) { return a.m * a.n * a.k > b.m * b.n * b.k; });
    return shapes;
}

// Fills in the sizes for choice.matrix and choice.lanes, in workgroups of at most `invocations`. Errors: why not, in words.
Status choose_sizes(const Capabilities& capabilities, const Problem& problem, uint32_t invocations, Choice& choice) {
    const MatrixShape& shape = choice.matrix;
    const Limits limits = limits_of(capabilities, problem, choice.lanes);
    // Dv is split over as many subgroups as keep their part in registers; rows take the rest of the workgroup, as far as shared
    // memory goes; then the split what is left.
    const auto q_len = static_cast<uint32_t>(std::max(problem.max_shape.q_len, 1));
    const auto value_dim = static_cast<uint32_t>(problem.value_dim);
    const uint32_t subgroups = std::bit_floor(invocations / choice.lanes);
    const auto padded = [&](uint32_t by) { return round_up(value_dim, shape.n * by); };
    const uint32_t most_split = std::min(subgroups, std::bit_ceil(padded(1) / shape.n));
    uint32_t split = 1;
    while (split < most_split && shape.m * padded(split) > limits.acc_floats * split * choice.lanes) split *= 2;
    uint32_t row_groups = std::min(
        {subgroups / split, std::max(limits.tile_rows / shape.m, 1u), std::bit_ceil((q_len + shape.m - 1) / shape.m)});
    if (choice.schedule == Schedule::list) {
        const auto block_q = static_cast<uint32_t>(problem.block_q);
        if (block_q % shape.m != 0)
            return error(Code::unsupported, "Problem::block_q " + std::to_string(block_q) +
                                                " is not a multiple of a matrix's " + std::to_string(shape.m) +
                                                " rows");
        while (block_q % (row_groups * shape.m) != 0) row_groups /= 2;
    }
    const uint32_t least_step = std::max(shape.n, shape.k);
    choice.step_keys = round_up(limits.step_keys, least_step);
    while (choice.step_keys > least_step && shape.m * choice.step_keys > limits.score_floats * split * choice.lanes)
        choice.step_keys /= 2;
    choice.qk_chunk = choose_chunk(static_cast<uint32_t>(problem.head_dim), shape.k);
    const uint64_t budget = std::min<uint64_t>(capabilities.max_shared_bytes, shared_budget_bytes);
    const auto fits = [&] {
        choice.value_chunk = choose_chunk(value_dim, shape.n * split);
        choice.tile_rows = row_groups * shape.m;
        choice.workgroup_size = row_groups * split * choice.lanes;
        choice.shared_bytes = count_shared_bytes(capabilities, problem, choice);
        return choice.shared_bytes <= budget;
    };
    while (!fits() && row_groups > 1) row_groups /= 2;
    while (!fits() && choice.step_keys > least_step) choice.step_keys /= 2;
    while (!fits() && split > 1) split /= 2;
    if (!fits())
        return error(Code::unsupported, "it needs " + std::to_string(choice.shared_bytes) +
                                            " bytes of shared memory here, and may take " + std::to_string(budget));
    while (2 * split * row_groups <= subgroups && 2 * split <= most_split && padded(2 * split) == padded(split)) {
        split *= 2;
        if (fits()) continue;
        split /= 2;
        fits();
        break;
    }
    return {};
}

// Registers of 32 bits that attention_nv keeps an invocation when the workgroup holds its matrices: o, the queries (two elements each),
// the scores of a step, and six matrices of a row's values in all columns: maxima, two sums, and what a step makes of them.
uint64_t count_registers(const Problem& problem, const MatrixShape& shape, uint32_t step_keys, uint32_t invocations) {
    const uint64_t cols = round_up(static_cast<uint32_t>(problem.value_dim), shape.n) +
                          round_up(static_cast<uint32_t>(problem.head_dim), shape.k) / 2 + step_keys + 6 * shape.n;
    return shape.m * cols / invocations;
}
// Of 255, what operands of a multiplication and addresses leave (predicted; ledger T6).
constexpr uint64_t most_registers = 208;

constexpr uint32_t most_rows = 64, most_cols = 64;

// A row's lanes shuffle within a subgroup and keep which of their scores attend as bits of one word (matrix_tile.glsl).
bool suits_lanes(uint32_t rows, uint32_t step_keys, uint32_t invocations, uint32_t subgroup_size) {
    const uint32_t row_lanes = std::min(std::max(invocations / rows, 1u), step_keys / 4);
    return row_lanes <= subgroup_size && step_keys / 4 / row_lanes <= 8;
}

// What follows from choice.matrix, workgroup_size and step_keys.
void settle_workgroup_matrices(const Capabilities& capabilities, const Problem& problem, Choice& choice) {
    choice.workgroup_matrices = true;
    choice.lanes = choice.workgroup_size;
    choice.tile_rows = choice.matrix.m;
    choice.qk_chunk = choice.matrix.k;
    choice.value_chunk = choice.matrix.n;
    choice.shared_bytes = count_shared_bytes(capabilities, problem, choice);
}

bool can_have(const Capabilities& capabilities, const Choice& choice, uint32_t invocations) {
    return invocations <= capabilities.max_invocations && invocations >= choice.subgroup_size &&
           invocations / choice.subgroup_size <= capabilities.max_workgroup_subgroups;
}

// One matrix of all rows of the tile for each group of dims, and of the keys of a step: the most rows that stay in registers, then the
// least padding of dims, then the largest matrices, then the fewest invocations. Errors: why not, in words.
Status choose_workgroup_matrices(const Capabilities& capabilities, const Problem& problem, Choice& choice) {
    if (choice.subgroup_size == 0) return error(Code::unsupported, "no subgroup size can be required on this device");
    const auto q_len = static_cast<uint32_t>(std::max(problem.max_shape.q_len, 1));
    const auto padding = [&](uint32_t cols) {
        return round_up(static_cast<uint32_t>(problem.head_dim), cols) +
               round_up(static_cast<uint32_t>(problem.value_dim), cols);
    };
    std::vector<WorkgroupMatrices> offered;
    for (const WorkgroupMatrices& matrices : capabilities.workgroup_matrices)
        if (matrices.type == problem.q_type && can_have(capabilities, choice, matrices.invocations))
            offered.push_back(matrices);
    std::stable_sort(offered.begin(), offered.end(), [](const WorkgroupMatrices& a, const WorkgroupMatrices& b) {
        return a.invocations < b.invocations;
    });
    std::vector<uint32_t> widths;
    for (uint32_t cols = std::min(most_cols, std::bit_floor(capabilities.max_workgroup_matrix_dim)); cols >= 8;
         cols /= 2)
        widths.push_back(cols);
    std::stable_sort(widths.begin(), widths.end(), [&](uint32_t a, uint32_t b) { return padding(a) < padding(b); });
    uint32_t least_rows = most_rows;
    for (const WorkgroupMatrices& matrices : offered) least_rows = std::min(least_rows, std::max(matrices.m, 8u));
    uint32_t rows = std::min(most_rows, std::bit_floor(capabilities.max_workgroup_matrix_dim));
    while (rows / 2 >= std::max(q_len, least_rows)) rows /= 2;
    for (; rows >= least_rows; rows /= 2) {
        if (choice.schedule == Schedule::list && static_cast<uint32_t>(problem.block_q) % rows != 0) continue;
        for (const uint32_t cols : widths)
            for (const WorkgroupMatrices& matrices : offered) {
                if (rows % matrices.m != 0 || cols % matrices.n != 0 || cols % matrices.k != 0) continue;
                Choice candidate = choice;
                candidate.matrix = {rows, cols, cols, matrices.type};
                candidate.workgroup_size = matrices.invocations;
                candidate.step_keys = most_cols;
                while (candidate.step_keys > cols &&
                       !suits_lanes(rows, candidate.step_keys, matrices.invocations, choice.subgroup_size))
                    candidate.step_keys /= 2;
                settle_workgroup_matrices(capabilities, problem, candidate);
                if (!suits_lanes(rows, candidate.step_keys, matrices.invocations, choice.subgroup_size) ||
                    count_registers(problem, candidate.matrix, candidate.step_keys, matrices.invocations) >
                        most_registers ||
                    candidate.shared_bytes > capabilities.max_shared_bytes)
                    continue;
                choice = candidate;
                return {};
            }
    }
    return error(Code::unsupported, "none of the device's matrices of workgroups suits " + std::to_string(q_len) +
                                        " queries, D " + std::to_string(problem.head_dim) + " and Dv " +
                                        std::to_string(problem.value_dim) + " within " +
                                        std::to_string(most_registers) + " registers an invocation and " +
                                        std::to_string(capabilities.max_shared_bytes) + " bytes of shared memory");
}

}  // namespace

Status tune_matrix(const Capabilities& capabilities, const Problem& problem, Path path, Choice& choice) {
    const auto refuse = [path](const std::string& why) {
        return error(Code::unsupported, "no " + std::string(to_string(path)) + " path: " + why);
    };
    if (problem.q_type == ElementType::f32 || problem.q_type != problem.k_type || problem.q_type != problem.v_type)
        return refuse("q, k and v are " + std::string(to_string(problem.q_type)) + ", " +
                      std::string(to_string(problem.k_type)) + " and " + std::string(to_string(problem.v_type)) +
                      "; matrix units take one 16-bit type for all three");
    if (!capabilities.features.cooperative_matrix) {
        for (const std::string& reason : capabilities.reasons)
            if (reason.find("matrices are not used") != std::string::npos) return refuse(reason);
        return refuse("the device has no matrix units enabled");
    }
    if (path == Path::nv && !capabilities.features.cooperative_matrix2)
        return refuse("reductions, conversions and per-element operations on matrices (VK_NV_cooperative_matrix2) are "
                      "not enabled on this device");
    // The kernel is written for one subgroup size: required where it can be, else the one that drivers promise.
    const auto can_require = [&](uint32_t size) {
        return size >= capabilities.min_subgroup_size && size <= capabilities.max_subgroup_size;
    };
    choice.lanes = required_subgroup_size(device_class_of(capabilities.device), capabilities, 0);
    if (choice.lanes == 0) choice.lanes = capabilities.subgroup_size;
    choice.subgroup_size = can_require(choice.lanes) ? choice.lanes : 0;
    choice.literal_sizes = capabilities.literal_matrix_sizes;
    choice.subgroup_reduce = true;
    choice.gflops_estimate = !capabilities.software ? 1000.0 : 2.0;
    const auto explain = [&choice] {
        choice.why += "matrices of " + std::to_string(choice.matrix.m) + "x" + std::to_string(choice.matrix.n) + "x" +
                      std::to_string(choice.matrix.k) + " by " + (choice.workgroup_matrices ? "work" : "sub") +
                      "groups of " + std::to_string(choice.lanes) + "; ";
    };
    if (path == Path::nv && choice.subgroup_size == 0)  // its modules are SPIR-V 1.6, whose subgroups vary
        return refuse("no subgroup size can be required on this device");
    if (path == Path::nv && capabilities.features.workgroup_matrices) {
        const Status status = choose_workgroup_matrices(capabilities, problem, choice);
        if (status.ok()) {
            explain();
            return {};
        }
        choice.why += status.message + ", so subgroups hold the matrices; ";
    }
    const std::vector<MatrixShape> shapes = shapes_of(capabilities, problem.q_type, path);
    if (shapes.empty())
        return refuse("the device has no matrices of " + std::string(to_string(problem.q_type)) +
                      (path == Path::nv ? " whose results have a factor's shape" : ""));

    uint32_t invocations =
        std::min(limits_of(capabilities, problem, choice.lanes).invocations, capabilities.max_invocations);
    if (choice.subgroup_size != 0)
        invocations = std::min(invocations, capabilities.max_workgroup_subgroups * choice.lanes);
    if (!std::has_single_bit(choice.lanes) || choice.lanes > invocations)
        return refuse("subgroups of " + std::to_string(choice.lanes) + " do not fit workgroups of " +
                      std::to_string(invocations));

    Status first;
    for (const MatrixShape& shape : shapes) {
        choice.matrix = shape;
        Status status = choose_sizes(capabilities, problem, invocations, choice);
        if (status.ok()) break;
        if (&shape == &shapes.front()) first = status;
        if (&shape == &shapes.back()) return refuse(first.message);
    }
    explain();
    return {};
}

namespace {

// A wish or a table's line for matrices of the workgroup.
Status take_workgroup_matrices(const Capabilities& capabilities, const Problem& problem, const KernelSizes& sizes,
                               Choice& choice) {
    const auto wrong = [](const char* name, uint32_t value, const std::string& right) {
        return error(Code::invalid_argument,
                     std::string(name) + " is " + std::to_string(value) + "; " + right + " would be right");
    };
    if (sizes.path != Path::nv || !capabilities.features.workgroup_matrices)
        return error(Code::unsupported, "workgroup_matrices=yes is for path nv on devices that have them enabled");
    if (sizes.subgroup_size == 0) return wrong("subgroup_size", 0, "one that can be required");
    choice.subgroup_size = sizes.subgroup_size;
    const auto power = [&](uint32_t size, uint32_t most) {
        return std::has_single_bit(size) && size >= 8 && size <= std::min(most, capabilities.max_workgroup_matrix_dim);
    };
    if (sizes.tile_rows != sizes.matrix_m) return wrong("tile_rows", sizes.tile_rows, "matrix_m");
    if (!power(sizes.matrix_m, 2 * most_rows)) return wrong("matrix_m", sizes.matrix_m, "a power of two from 8 to 128");
    if (!power(sizes.matrix_n, 2 * most_cols)) return wrong("matrix_n", sizes.matrix_n, "a power of two from 8 to 128");
    if (sizes.matrix_k != sizes.matrix_n) return wrong("matrix_k", sizes.matrix_k, "matrix_n");
    if (!std::has_single_bit(sizes.step_keys) || sizes.step_keys < sizes.matrix_n || sizes.step_keys > 128)
        return wrong("step_keys", sizes.step_keys, "a power of two from " + std::to_string(sizes.matrix_n) + " to 128");
    const auto suits = [&](const WorkgroupMatrices& matrices) {
        return matrices.type == problem.q_type && matrices.invocations == sizes.workgroup_size &&
               can_have(capabilities, choice, matrices.invocations) && sizes.matrix_m % matrices.m == 0 &&
               sizes.matrix_n % matrices.n == 0 && sizes.matrix_k % matrices.k == 0;
    };
    const auto& offered = capabilities.workgroup_matrices;
    if (std::none_of(offered.begin(), offered.end(), suits))
        return error(Code::invalid_argument, "the device has no matrices of " + std::to_string(sizes.matrix_m) + "x" +
                                                 std::to_string(sizes.matrix_n) + "x" + std::to_string(sizes.matrix_k) +
                                                 " for workgroups of " + std::to_string(sizes.workgroup_size));
    choice.matrix = {sizes.matrix_m, sizes.matrix_n, sizes.matrix_k, problem.q_type};
    choice.workgroup_size = sizes.workgroup_size;
    choice.step_keys = sizes.step_keys;
    settle_workgroup_matrices(capabilities, problem, choice);
    const uint64_t registers = count_registers(problem, choice.matrix, choice.step_keys, choice.workgroup_size);
    if (registers > 2 * most_registers ||
        !suits_lanes(choice.tile_rows, choice.step_keys, choice.workgroup_size, choice.subgroup_size))
        return error(Code::invalid_argument,
                     "an invocation would keep " + std::to_string(registers) + " registers and share a row with " +
                         std::to_string(choice.workgroup_size / choice.tile_rows) + "; at most " +
                         std::to_string(2 * most_registers) + ", a subgroup, and 32 scores of a row each, fit");
    return {};
}

}  // namespace

Status take_matrix_sizes(const Capabilities& capabilities, const Problem& problem, const KernelSizes& sizes,
                         Choice& choice) {
    // What an invocation may be asked to keep in registers, spilled or not: compilers' time is what has to be bounded here.
    constexpr uint64_t most_floats = 128;
    if (Status status = tune_matrix(capabilities, problem, sizes.path, choice); !status.ok()) return status;
    if (sizes.workgroup_matrices) return take_workgroup_matrices(capabilities, problem, sizes, choice);
    choice.workgroup_matrices = false;
    const auto wrong = [](const char* name, uint32_t value, const std::string& right) {
        return error(Code::invalid_argument,
                     std::string(name) + " is " + std::to_string(value) + "; " + right + " would be right");
    };
    const auto& shapes = shapes_of(capabilities, problem.q_type, sizes.path);
    const auto shape = std::find_if(shapes.begin(), shapes.end(), [&](const MatrixShape& s) {
        return s.m == sizes.matrix_m && s.n == sizes.matrix_n && s.k == sizes.matrix_k;
    });
    if (shape == shapes.end())
        return error(Code::invalid_argument, "the device has no matrices of " + std::to_string(sizes.matrix_m) + "x" +
                                                 std::to_string(sizes.matrix_n) + "x" + std::to_string(sizes.matrix_k));
    if (sizes.subgroup_size == 0 && choice.subgroup_size != 0)
        return wrong("subgroup_size", 0, "one that can be required, " + std::to_string(choice.subgroup_size) + " say,");
    const uint32_t lanes = sizes.subgroup_size != 0 ? sizes.subgroup_size : choice.lanes;
    const uint32_t subgroups = sizes.workgroup_size / lanes, row_groups = sizes.tile_rows / shape->m;
    if (subgroups == 0 || !std::has_single_bit(sizes.tile_rows) || row_groups == 0 || row_groups > subgroups)
        return wrong("tile_rows", sizes.tile_rows,
                     "a power of two from a matrix's " + std::to_string(shape->m) + " to as many for each of the " +
                         std::to_string(subgroups) + " subgroups");
    const uint32_t split = subgroups / row_groups, least_step = std::max(shape->n, shape->k);
    const auto value_dim = static_cast<uint32_t>(problem.value_dim);
    if (!std::has_single_bit(sizes.step_keys) || sizes.step_keys < least_step || sizes.step_keys > 128)
        return wrong("step_keys", sizes.step_keys, "a power of two from " + std::to_string(least_step) + " to 128");
    const uint64_t sharers = uint64_t{lanes} * split;
    const uint64_t scores = uint64_t{shape->m} * sizes.step_keys / (sizes.path == Path::nv ? lanes : sharers);
    const uint64_t acc = uint64_t{shape->m} * round_up(value_dim, shape->n * split) / sharers;
    // A lane's groups of four scores are bits of one word.
    const uint32_t softmax_rows = (shape->m + split - 1) / split;
    const uint32_t row_lanes = std::min(std::max(lanes / softmax_rows, 1u), sizes.step_keys / 4);
    if (scores > most_floats || acc > most_floats || sizes.step_keys / 4 / row_lanes > 8)
        return error(Code::invalid_argument, "an invocation would keep " + std::to_string(scores) + " scores and " +
                                                 std::to_string(acc) + " floats of o; at most " +
                                                 std::to_string(most_floats) + " of each, and 32 scores of a row, fit");
    choice.matrix = *shape;
    choice.lanes = lanes;
    choice.subgroup_size = sizes.subgroup_size;
    choice.workgroup_size = sizes.workgroup_size;
    choice.tile_rows = sizes.tile_rows;
    choice.step_keys = sizes.step_keys;
    choice.qk_chunk = choose_chunk(static_cast<uint32_t>(problem.head_dim), shape->k);
    choice.value_chunk = choose_chunk(value_dim, shape->n * split);
    choice.shared_bytes = count_shared_bytes(capabilities, problem, choice);
    return {};
}

}  // namespace vkattn
