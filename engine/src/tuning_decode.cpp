// Decoding: the decode skeleton's sizes, and into how many parts the keys of a tile are cut. Ledger: docs/tuning.md, T5.
#include <algorithm>
#include <bit>

#include "device_class.h"
#include "tuning.h"

namespace vkattn {
namespace {

// Query rows that share a key.
int64_t rows_per_key(const Problem& problem) {
    const Shape& s = problem.max_shape;
    return int64_t{s.q_len} * (s.q_heads / s.kv_heads);
}

uint32_t ceil_div(uint32_t a, uint32_t b) { return (a + b - 1) / b; }

// How a GPU shares a key: `sharers` invocations of a workgroup's, each with 4, 8, 12 .. elements of it.
struct Sharing {
    uint32_t workgroup_size, subgroup_size;  // subgroup_size: required; 0: the driver chooses
    uint32_t sharers, elements;
};

// Four elements an invocation, as far as subgroups reach, and the kernel's sums over the sharers do (ledger T5).
Sharing share_keys(const Capabilities& capabilities, const Problem& problem) {
    constexpr uint32_t workgroup = 128, least_sharers = 4, most_sharers = 32, unit = 4;
    const auto dims = static_cast<uint32_t>(std::max(problem.head_dim, problem.value_dim));
    Sharing sharing{};
    sharing.workgroup_size =
        std::max(std::min(workgroup, std::bit_floor(capabilities.max_invocations)), capabilities.subgroup_size);
    sharing.subgroup_size =
        required_subgroup_size(device_class_of(capabilities.device), capabilities, sharing.workgroup_size);
    const uint32_t lanes = sharing.subgroup_size != 0 ? sharing.subgroup_size : capabilities.subgroup_size;
    sharing.sharers = std::min({std::max(std::bit_floor(dims / unit), least_sharers), lanes, most_sharers});
    sharing.elements = ceil_div(dims, unit * sharing.sharers) * unit;
    return sharing;
}

}  // namespace

std::string decode_obstacle(const Capabilities& capabilities) {
    if (!capabilities.features.scalar_subgroup) return "the device has no subgroup shuffles in compute shaders";
    if (!capabilities.features.subgroup_size_control) return "full subgroups cannot be required on this device";
    if (capabilities.subgroup_size < 4 || !std::has_single_bit(capabilities.subgroup_size))
        return "subgroups of " + std::to_string(capabilities.subgroup_size) + " are no power of two from 4 on";
    if (std::bit_floor(capabilities.max_invocations) < capabilities.subgroup_size)
        return "a workgroup holds less than a subgroup";
    return {};
}

bool prefers_decode(const Capabilities& capabilities, const Problem& problem, const Choice& choice) {
    // Ledger T5: with more rows a key the rows skeleton fills its vectors and is as fast. Through descriptors a software device
    // checks every word that it loads, and loads stay scalar. On a GPU tiles compute 16 to 64 queries of one head and read keys once a
    // head, decode only the rows that there are and keys once for several heads; it ends with as many elements an invocation as the
    // vendor's compiler keeps in registers: beyond those, tiles whose keys are split.
    constexpr int64_t software_rows = 16;
    constexpr int32_t gpu_queries = 8;
    if (problem.path != Path::automatic && problem.path != Path::scalar) return false;
    if (problem.widen == Widen::on || !decode_obstacle(capabilities).empty()) return false;
    if (problem.max_shape.q_len == 0 || problem.max_shape.kv_len == 0) return false;
    if (capabilities.software)
        return choice.addressing == Addressing::address && rows_per_key(problem) <= software_rows;
    return problem.max_shape.q_len <= gpu_queries &&
           share_keys(capabilities, problem).elements <= device_class_of(capabilities.device).decode_elements;
}

void tune_decode(const Capabilities& capabilities, const Problem& problem, Choice& choice) {
    const Shape& s = problem.max_shape;
    const int32_t dims = problem.head_dim + problem.value_dim;
    // Rows of a tile live in registers and are unrolled code: four rows of D 256 take nearly twice the time of two tiles of two on
    // lavapipe, four of D 128 little more than half. With f32 keys the edges themselves are too many (ledger T8).
    const int32_t edge = problem.k_type == ElementType::f32 ? 1 : 0;
    uint32_t rows = dims + edge <= 256 ? 4 : dims + edge <= 512 ? 2 : 1;
    if (capabilities.software) {
        choice.threads_x = choice.workgroup_size = std::min(capabilities.subgroup_size, 32u);
        choice.step_keys = choice.threads_x;
    } else {
        // Registers an invocation: 2 elements a row for q and acc; an element a key that is loaded.
        constexpr uint32_t row_registers = 32, key_registers = 32;
        const DeviceClass& device_class = device_class_of(capabilities.device);
        const Sharing sharing = share_keys(capabilities, problem);
        choice.threads_x = sharing.sharers;
        choice.workgroup_size = sharing.workgroup_size;
        choice.subgroup_size = sharing.subgroup_size;
        rows = std::clamp(row_registers / (2 * sharing.elements), 1u, device_class.decode_rows);
        choice.step_keys =
            std::min(std::bit_floor(std::clamp(key_registers / sharing.elements, 2u, device_class.decode_keys)),
                     sharing.sharers);
    }
    const auto q_len = static_cast<uint32_t>(std::max(s.q_len, 1));
    const auto group = static_cast<uint32_t>(s.q_heads / s.kv_heads);
    uint32_t head_rows = ceil_div(q_len, ceil_div(q_len, rows));
    if (choice.schedule == Schedule::list) {  // a tile's queries lie in one block row
        const auto block_q = static_cast<uint32_t>(problem.block_q);
        if (q_len > head_rows || head_rows > block_q)
            while (block_q % head_rows != 0) head_rows--;
    }
    const uint32_t heads = std::max(rows / head_rows, 1u);
    choice.heads_per_tile = ceil_div(group, ceil_div(group, heads));
    choice.tile_rows = head_rows * choice.heads_per_tile;
    choice.subgroup_reduce = true;
    choice.gflops_estimate = !capabilities.software ? 500.0 : is_lavapipe(capabilities) ? 40.0 : 0.3;
}

uint64_t count_tiles(const Problem& problem, const Choice& choice) {
    const Shape& s = problem.max_shape;
    const uint64_t head_rows = choice.tile_rows / choice.heads_per_tile;
    const uint64_t head_tiles = ceil_div(static_cast<uint32_t>(s.q_heads / s.kv_heads), choice.heads_per_tile) *
                                static_cast<uint64_t>(s.kv_heads);
    return static_cast<uint64_t>(s.batch) * head_tiles * ((static_cast<uint64_t>(s.q_len) + head_rows - 1) / head_rows);
}

uint32_t parts_of_tile(const Choice& choice) {
    const uint32_t teams = choice.skeleton == Skeleton::decode ? choice.workgroup_size / choice.threads_x : 1;
    return ceil_div(choice.splits, teams);
}

uint64_t partials_bytes(const Problem& problem, const Choice& choice) {
    if (choice.splits == 1 && choice.skeleton != Skeleton::decode) return 0;
    const Shape& s = problem.max_shape;
    const uint64_t rows =
        static_cast<uint64_t>(s.batch) * static_cast<uint64_t>(s.q_heads) * static_cast<uint64_t>(s.q_len);
    return std::max<uint64_t>(rows, 1) * choice.splits * 4 *
           (static_cast<uint64_t>((problem.value_dim + 3) / 4) * 4 + 4);
}

Status choose_splits(const Capabilities& capabilities, const Problem& problem, int32_t asked, Choice& choice) {
    const Shape& s = problem.max_shape;
    const bool decode = choice.skeleton == Skeleton::decode;
    auto obstacle = [&]() -> std::string {
        const uint64_t bytes = partials_bytes(problem, choice);
        const uint64_t items =
            count_tiles(problem, choice) * choice.tile_rows * static_cast<uint64_t>((problem.value_dim + 3) / 4);
        if (bytes == 0) return {};
        if (bytes / 4 > 0xffffffffull || items > 0xffffffffull ||
            count_tiles(problem, choice) * parts_of_tile(choice) > 0xffffffffull)
            return "the splits' partials have more than 2^32 elements";
        if (choice.addressing == Addressing::binding && bytes > capabilities.max_storage_buffer_range)
            return "the splits' partials take " + std::to_string(bytes) +
                   " bytes, more than the device's descriptor range";
        return {};
    };
    if (asked != 0) {
        choice.splits = static_cast<uint32_t>(asked);
        if (const std::string why = obstacle(); !why.empty())
            return error(Code::limit_exceeded, "Problem::splits is " + std::to_string(asked) + ", but " + why);
        if (choice.splits > 1) choice.why += "splits as asked; ";
        return {};
    }

    // Where the tiles leave the device idle, `busy` parts a core. Decoding, also so many that one batch entry alone, the longest of
    // a ragged batch, is shared by all cores: its partials cost little.
    constexpr uint64_t busy = 4, even = 2;
    constexpr uint64_t least_keys = 256;
    constexpr uint64_t most_automatic_bytes = 64u << 20;
    const uint64_t tiles = std::max<uint64_t>(count_tiles(problem, choice), 1);
    const uint64_t entry_tiles = std::max<uint64_t>(tiles / static_cast<uint64_t>(s.batch), 1);
    const uint64_t cores = capabilities.cores;
    uint64_t wanted = 1;
    if (decode) wanted = std::max((busy * cores + tiles - 1) / tiles, (even * cores + entry_tiles - 1) / entry_tiles);
    else if (2 * tiles <= cores) wanted = (even * cores + tiles - 1) / tiles;
    if (decode) wanted *= choice.workgroup_size / choice.threads_x;
    const uint64_t most = std::clamp<uint64_t>(static_cast<uint64_t>(s.kv_len) / least_keys, 1, max_splits);
    choice.splits = static_cast<uint32_t>(std::clamp<uint64_t>(wanted, 1, most));
    while (choice.splits > 1 && (partials_bytes(problem, choice) > most_automatic_bytes || !obstacle().empty()))
        choice.splits /= 2;
    if (const std::string why = obstacle(); !why.empty()) return error(Code::limit_exceeded, why);
    if (choice.splits > 1)
        choice.why += "splits: a grid of " + std::to_string(tiles) + " for " + std::to_string(cores) + " cores; ";
    return {};
}

}  // namespace vkattn
