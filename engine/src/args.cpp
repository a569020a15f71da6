// make_args: the values of one call, checked against the plan's bounds so that record has nothing left to refuse.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine_impl.h"
#include "tile_order.h"

namespace vkattn {
namespace {

constexpr int64_t max_stride = 0xffffffffll;

struct TensorExtent {
    const char* name;
    int32_t batch, heads, length, dim;
    bool aligned;
    ElementType type;
};

std::string number(int64_t value) { return std::to_string(value); }

Status check_bounds(const Shape& shape, const Shape& bound) {
    const struct {
        const char* name;
        int32_t value, bound;
    } checks[] = {
        {"batch", shape.batch, bound.batch},          {"q_heads", shape.q_heads, bound.q_heads},
        {"kv_heads", shape.kv_heads, bound.kv_heads}, {"q_len", shape.q_len, bound.q_len},
        {"kv_len", shape.kv_len, bound.kv_len},
    };
    for (const auto& c : checks)
        if (c.value > c.bound)
            return error(Code::invalid_argument, std::string("ArgsInfo::shape.") + c.name + " is " + number(c.value) +
                                                     ", beyond the plan's bound of " + number(c.bound) +
                                                     " (Problem::max_shape)");
    return {};
}

Strides contiguous(const TensorExtent& t) {
    return {int64_t{t.heads} * t.length * t.dim, int64_t{t.length} * t.dim, t.dim};
}

Status check_strides(const TensorExtent& t, const Strides& s) {
    const struct {
        const char* name;
        int64_t value;
    } strides[] = {{"b", s.b}, {"h", s.h}, {"l", s.l}};
    for (const auto& stride : strides) {
        if (stride.value < 0 || stride.value > max_stride)
            return error(Code::invalid_argument, std::string("stride ") + stride.name + " of " + t.name + " is " +
                                                     number(stride.value) +
                                                     " elements; 0 (broadcast) to 4294967295 is supported");
        if (t.aligned && stride.value % 4 != 0)
            return error(Code::invalid_argument,
                         std::string("stride ") + stride.name + " of " + t.name + " is " + number(stride.value) +
                             " elements, not a multiple of 4; set Problem::" + t.name + "_aligned = false");
    }
    return {};
}

// No element of o is written twice: outer strides step over everything inside.
Status check_no_overlap(const TensorExtent& t, const Strides& s) {
    if (t.length == 0) return {};
    struct Dim {
        int64_t extent, stride;
    };
    std::array<Dim, 3> dims{Dim{t.batch, s.b}, Dim{t.heads, s.h}, Dim{t.length, s.l}};
    std::sort(dims.begin(), dims.end(), [](const Dim& a, const Dim& b) { return a.stride < b.stride; });
    int64_t inner_span = t.dim;
    for (const Dim& dim : dims) {
        if (dim.extent <= 1) continue;
        if (dim.stride < inner_span)
            return error(Code::invalid_argument, std::string("the strides of ") + t.name +
                                                     " make its elements overlap (a stride of " + number(dim.stride) +
                                                     " inside a span of " + number(inner_span) + ")");
        inner_span += (dim.extent - 1) * dim.stride;
    }
    return {};
}

uint64_t span_elems(const TensorExtent& t, const Strides& s) {
    if (t.length == 0) return 0;
    return static_cast<uint64_t>((t.batch - 1) * s.b + (t.heads - 1) * s.h + (t.length - 1) * s.l + t.dim);
}

void fill_layout(TensorLayout& layout, const Strides& s) {
    layout.stride_b = static_cast<uint32_t>(s.b);
    layout.stride_h = static_cast<uint32_t>(s.h);
    layout.stride_l = static_cast<uint32_t>(s.l);
}

uint64_t element_words(const TableData& table) {
    const uint64_t bytes = static_cast<uint64_t>(table.count()) * (table.type == Type::boolean ? 1u : 4u);
    return (bytes + 3) / 4;
}

bool uses_lengths(const Tree& tree) {
    return std::any_of(tree.nodes.begin(), tree.nodes.end(),
                       [](const Node& n) { return n.op == Op::q_len || n.op == Op::kv_len; });
}

// What a list may have been classified with.
struct MaskValues {
    std::vector<uint32_t> slots;
    std::string tables_hash;
};

// Lists are used only where they are right: for the structure, values and shape that they were classified with.
Status check_list(const PlanImpl& plan, const ArgsInfo& info, const MaskValues& values) {
    const Problem& problem = plan.problem;
    const BlockMask& list = *info.block_mask;
    const Shape& shape = info.shape;
    if (Status status = check(list); !status.ok()) return status;
    if (list.block_q != problem.block_q || list.block_kv != problem.block_kv)
        return error(Code::invalid_argument, "the block mask has blocks of " + number(list.block_q) + " x " +
                                                 number(list.block_kv) + ", the plan was made for " +
                                                 number(problem.block_q) + " x " + number(problem.block_kv));
    if ((list.batch != 1 && list.batch != shape.batch) || (list.heads != 1 && list.heads != shape.q_heads))
        return error(Code::invalid_argument, "the block mask is for batch " + number(list.batch) + " and " +
                                                 number(list.heads) + " heads; 1 or this call's " +
                                                 number(shape.batch) + " and " + number(shape.q_heads) + " fit");
    if (list.shape.q_len < shape.q_len || list.shape.kv_len < shape.kv_len)
        return error(Code::invalid_argument, "the block mask covers " + number(list.shape.q_len) + " x " +
                                                 number(list.shape.kv_len) + " positions, this call has " +
                                                 number(shape.q_len) + " x " + number(shape.kv_len));
    if (list.structure_hash.empty()) return {};  // hand-made: the caller's word
    if (list.structure_hash != plan.mask_hash)
        return error(Code::invalid_argument, "the block mask was built from another mask than the plan's");
    if (list.slot_values != values.slots && !info.block_mask_covers)
        return error(Code::invalid_argument,
                     "the block mask is stale: it was built with other values (a window, a literal or a param has "
                     "changed); build it again, or set ArgsInfo::block_mask_covers where it still covers the mask");
    if (list.tables_hash != values.tables_hash)
        return error(Code::invalid_argument, "the block mask is stale: it was built with other tables; build it again");
    if ((list.shape.q_len != shape.q_len || list.shape.kv_len != shape.kv_len) && uses_lengths(*plan.mask))
        return error(
            Code::invalid_argument,
            "the block mask is stale: the mask depends on q_len or kv_len, and it was built with other lengths");
    return {};
}

void place_lists(AttentionParams& params, const Problem& problem, int64_t rows, int32_t batch, int32_t heads) {
    params.list_rows = static_cast<uint32_t>(rows);
    params.list_stride_h = heads > 1 ? params.list_rows : 0u;
    params.list_stride_b = batch > 1 ? params.list_rows * static_cast<uint32_t>(heads) : 0u;
    params.list_planes = static_cast<uint32_t>(batch) * static_cast<uint32_t>(heads);
    params.list_block_q = static_cast<uint32_t>(problem.block_q);
    params.list_block_kv = static_cast<uint32_t>(problem.block_kv);
}

// Lists come behind the tables, from word `next_word` on.
Status place_runs(ArgsImpl& args, const ArgsInfo& info, const MaskValues& values, uint64_t& next_word) {
    if (info.block_mask == nullptr)
        return error(Code::invalid_argument, "this plan has the list schedule: ArgsInfo::block_mask is missing");
    if (Status status = check_list(*args.plan, info, values); !status.ok()) return status;
    args.block_mask = std::make_shared<const BlockMask>(*info.block_mask);
    const BlockMask& list = *args.block_mask;
    AttentionParams& params = args.params;
    place_lists(params, args.plan->problem, list.rows(), list.batch, list.heads);
    if (info.block_mask_covers && list.slot_values != values.slots) params.flags |= PARAMS_LIST_ALL_PARTIAL;
    params.list_offsets_words = static_cast<uint32_t>(next_word);
    next_word += list.row_offsets.size();
    next_word = (next_word + 1) / 2 * 2;  // runs are pairs of words
    params.list_runs_words = static_cast<uint32_t>(next_word);
    params.list_runs = static_cast<uint32_t>(list.runs.size());
    next_word += list.runs.size() * 2;
    return {};
}

Status check_padded(const PaddedBlocks& blocks, const Shape& shape, int64_t rows) {
    if ((blocks.batch != 1 && blocks.batch != shape.batch) || (blocks.heads != 1 && blocks.heads != shape.q_heads))
        return error(Code::invalid_argument, "the padded blocks are for batch " + number(blocks.batch) + " and " +
                                                 number(blocks.heads) + " heads; 1 or this call's " +
                                                 number(shape.batch) + " and " + number(shape.q_heads) + " fit");
    if (blocks.rows < rows || blocks.columns < 0)
        return error(Code::invalid_argument,
                     "the padded blocks have " + number(blocks.rows) + " block rows; this call has " + number(rows));
    const uint64_t counts =
        static_cast<uint64_t>(blocks.batch) * static_cast<uint64_t>(blocks.heads) * static_cast<uint64_t>(blocks.rows);
    const uint64_t places = counts * static_cast<uint64_t>(blocks.columns);
    const bool no_full = blocks.full_num_blocks.empty() && blocks.full_indices.empty();
    if (blocks.num_blocks.size() != counts || blocks.indices.size() != places ||
        (!no_full && (blocks.full_num_blocks.size() != counts || blocks.full_indices.size() != places)))
        return error(Code::invalid_argument, "the padded blocks' arrays do not have [batch, heads, rows] and [batch, "
                                             "heads, rows, columns] elements");
    return {};
}

Status place_indices(ArgsImpl& args, const ArgsInfo& info, uint64_t& next_word) {
    const PlanImpl& plan = *args.plan;
    const Problem& problem = plan.problem;
    const Shape& shape = info.shape;
    const int64_t rows = (int64_t{shape.q_len} + problem.block_q - 1) / problem.block_q;
    ListLayout& layout = args.list_layout;
    if (info.padded_blocks != nullptr) {
        if (Status status = check_padded(*info.padded_blocks, shape, rows); !status.ok()) return status;
        args.padded_blocks = std::make_shared<const PaddedBlocks>(*info.padded_blocks);
        const PaddedBlocks& blocks = *args.padded_blocks;
        layout.batch = blocks.batch;
        layout.heads = blocks.heads;
        layout.rows = blocks.rows;
        layout.columns = blocks.columns;
    } else {
        layout.batch = plan.lists_by_batch ? shape.batch : 1;
        layout.heads = plan.lists_by_head ? shape.q_heads : 1;
        layout.rows = static_cast<int32_t>(rows);
        layout.columns = static_cast<int32_t>((int64_t{shape.kv_len} + problem.block_kv - 1) / problem.block_kv);
    }
    AttentionParams& params = args.params;
    place_lists(params, problem, layout.rows, layout.batch, layout.heads);
    params.list_columns = static_cast<uint32_t>(layout.columns);
    const uint64_t counts = uint64_t{params.list_planes} * params.list_rows;
    auto place = [&](uint64_t words, params_uint& first_word, uint64_t& offset) {
        first_word = static_cast<uint32_t>(next_word);
        offset = next_word * 4;
        next_word += words;
    };
    place(counts, params.list_offsets_words, layout.num_blocks);
    place(counts * params.list_columns, params.list_runs_words, layout.indices);
    place(counts, params.list_full_counts_words, layout.full_num_blocks);
    place(counts * params.list_columns, params.list_full_indices_words, layout.full_indices);
    return {};
}

// Key blocks of each block row, over all batch entries and heads that have lists of their own.
std::vector<uint64_t> count_blocks(const ArgsImpl& args) {
    std::vector<uint64_t> blocks(args.params.list_rows);
    const uint64_t lists = uint64_t{args.params.list_planes} * args.params.list_rows;
    if (args.block_mask != nullptr) {
        const BlockMask& list = *args.block_mask;
        for (uint64_t i = 0; i < lists; i++)
            for (uint64_t run = list.row_offsets[i]; run < list.row_offsets[i + 1]; run++)
                blocks[i % blocks.size()] += list.runs[run].n_blocks;
    } else {
        const PaddedBlocks& list = *args.padded_blocks;
        for (const std::vector<int32_t>* counts : {&list.num_blocks, &list.full_num_blocks})
            for (size_t i = 0; i < counts->size(); i++)
                blocks[i % blocks.size()] += static_cast<uint64_t>(std::clamp((*counts)[i], 0, list.columns));
    }
    return blocks;
}

// Behind the lists, where it is of use and there is room.
void place_tile_order(ArgsImpl& args, uint64_t& next_word) {
    AttentionParams& params = args.params;
    const bool merged = args.plan->merge_pipeline != VK_NULL_HANDLE;  // merge_splits knows no order
    if (merged || params.q_tiles < 2 || (args.block_mask == nullptr && args.padded_blocks == nullptr)) return;
    if ((next_word + params.q_tiles) * 4 > args.plan->tables_capacity_bytes) return;
    args.tile_order = order_tiles(
        count_blocks(args), params.list_block_q / static_cast<uint32_t>(args.plan->report.tile_q), params.q_tiles);
    if (args.tile_order.empty()) return;
    params.flags |= PARAMS_TILE_ORDER;
    params.tile_order_words = static_cast<uint32_t>(next_word);
    next_word += params.q_tiles;
}

}  // namespace

Result<Args> make_plan_args(const std::shared_ptr<const PlanImpl>& plan, const ArgsInfo& info) {
    const Problem& problem = plan->problem;
    const Shape& shape = info.shape;
    if (Status status = check(shape); !status.ok()) return error(status.code, "ArgsInfo::shape: " + status.message);
    if (Status status = check_bounds(shape, problem.max_shape); !status.ok()) return status;

    if (int64_t{shape.q_heads} * problem.max_shape.kv_heads != int64_t{shape.kv_heads} * problem.max_shape.q_heads)
        return error(Code::invalid_argument, "ArgsInfo::shape has " + number(shape.q_heads) + " query heads on " +
                                                 number(shape.kv_heads) + " key heads; the plan's ratio is " +
                                                 number(problem.max_shape.q_heads) + " on " +
                                                 number(problem.max_shape.kv_heads) + " (Problem::max_shape)");

    auto args = std::make_shared<ArgsImpl>();
    args->plan = plan;
    AttentionParams& params = args->params;

    const TensorExtent extents[4] = {
        {"q", shape.batch, shape.q_heads, shape.q_len, problem.head_dim, problem.q_aligned, problem.q_type},
        {"k", shape.batch, shape.kv_heads, shape.kv_len, problem.head_dim, problem.k_aligned, problem.k_type},
        {"v", shape.batch, shape.kv_heads, shape.kv_len, problem.value_dim, problem.v_aligned, problem.v_type},
        {"o", shape.batch, shape.q_heads, shape.q_len, problem.value_dim, problem.o_aligned, problem.o_type},
    };
    const std::optional<Strides>* given[4] = {&info.q, &info.k, &info.v, &info.o};
    TensorLayout* layouts[4] = {&params.q, &params.k, &params.v, &params.o};
    for (size_t i = 0; i < 4; i++) {
        const TensorExtent& t = extents[i];
        const Strides strides = given[i]->value_or(contiguous(t));
        if (Status status = check_strides(t, strides); !status.ok()) return status;
        if (i == 3)
            if (Status status = check_no_overlap(t, strides); !status.ok()) return status;
        args->strides[i] = strides;
        args->span_elems[i] = span_elems(t, strides);
        fill_layout(*layouts[i], strides);
        if (plan->widen_pipeline != VK_NULL_HANDLE && (i == 1 || i == 2)) {
            fill_layout(i == 1 ? params.k_source : params.v_source, strides);
            TensorExtent wide = t;
            wide.dim = (t.dim + 3) / 4 * 4;
            args->strides[i] = contiguous(wide);
            fill_layout(*layouts[i], args->strides[i]);
        }
        if (problem.addressing == Addressing::binding && t.length > 0) {
            // One head of one batch entry is the smallest window; 256 bytes are lost to alignment at most.
            const int64_t more_heads = i == 0 || i == 3 ? int64_t{plan->heads_per_tile} - 1 : 0;
            const uint64_t head_bytes =
                static_cast<uint64_t>(more_heads * strides.h + (t.length - 1) * strides.l + t.dim) *
                element_bytes(t.type);
            if (head_bytes + 256 > plan->engine->capabilities.max_storage_buffer_range)
                return error(Code::limit_exceeded,
                             (more_heads == 0 ? std::string("one head of ") : std::string("the heads of a tile of ")) +
                                 t.name + " span" + (more_heads == 0 ? "s " : " ") + std::to_string(head_bytes) +
                                 " bytes, beyond the device's descriptor range of " +
                                 std::to_string(plan->engine->capabilities.max_storage_buffer_range) +
                                 "; use Addressing::address");
        }
    }
    fill_layout(params.lse, {int64_t{shape.q_heads} * shape.q_len, shape.q_len, 1});

    params.batch = shape.batch;
    params.q_heads = shape.q_heads;
    params.kv_heads = shape.kv_heads;
    params.group = shape.q_heads / shape.kv_heads;
    params.q_len = shape.q_len;
    params.kv_len = shape.kv_len;
    params.scale = info.scale.value_or(1.0f / std::sqrt(static_cast<float>(problem.head_dim)));
    if (!std::isfinite(params.scale)) return error(Code::invalid_argument, "ArgsInfo::scale is not finite");
    params.flags = info.write_lse ? PARAMS_WRITE_LSE : 0u;
    const uint32_t tile_rows = static_cast<uint32_t>(plan->report.tile_q);
    params.q_tiles = (static_cast<uint32_t>(shape.q_len) + tile_rows - 1) / tile_rows;
    const uint64_t heads = static_cast<uint64_t>(shape.batch) * static_cast<uint64_t>(shape.q_heads);
    if (params.q_tiles != 0 && heads > 0xffffffffull / params.q_tiles / plan->parts)
        return error(Code::limit_exceeded, "batch x q_heads x tiles of " + number(tile_rows) +
                                               " query rows is beyond 2^32; split the call over the batch");

    // Values: the mask's slots and tables first, then the score mod's.
    uint64_t next_word = 0;
    size_t next_slot = 0;
    MaskValues mask_values;
    for (const Tree* tree : {plan->mask.get(), plan->score_mod.get()}) {
        auto resolved = resolve(*tree, info.bindings);
        if (!resolved) return resolved.status();
        const std::vector<uint32_t> values = slot_values(*tree, *resolved);
        if (tree == plan->mask.get()) {
            mask_values.slots = values;
            if (problem.schedule == Schedule::list) mask_values.tables_hash = tables_hash(*resolved);
        }
        for (uint32_t value : values) params.slots[next_slot++] = value;
        for (const auto& table : resolved->tables) {
            TableInfo& slot = params.tables_info[args->tables.size()];
            slot.offset_words = static_cast<uint32_t>(next_word);
            auto dim = [&](size_t i) { return i < table->dims.size() ? static_cast<int32_t>(table->dims[i]) : 1; };
            slot.dim0 = dim(0);
            slot.dim1 = dim(1);
            slot.dim2 = dim(2);
            slot.dim3 = dim(3);
            next_word += element_words(*table);
            args->tables.push_back(table);
        }
    }

    if (info.block_mask != nullptr && problem.schedule == Schedule::list &&
        problem.list_encoding == ListEncoding::indices)
        return error(Code::invalid_argument, "ArgsInfo::block_mask is for ListEncoding::runs, this plan reads indices: "
                                             "give ArgsInfo::padded_blocks (to_padded(block_mask)), or neither where "
                                             "the device makes the lists");
    if (info.padded_blocks != nullptr &&
        (problem.schedule != Schedule::list || problem.list_encoding != ListEncoding::indices))
        return error(Code::invalid_argument, "ArgsInfo::padded_blocks needs a plan with the list schedule and "
                                             "ListEncoding::indices (Problem::list_encoding)");
    if (problem.schedule == Schedule::list) {
        const Status status = problem.list_encoding == ListEncoding::runs
                                  ? place_runs(*args, info, mask_values, next_word)
                                  : place_indices(*args, info, next_word);
        if (!status.ok()) return status;
        place_tile_order(*args, next_word);
    }
    args->tables_bytes = next_word * 4;
    if (args->tables_bytes > plan->tables_capacity_bytes || next_word > 0xffffffffull)
        return error(Code::limit_exceeded,
                     "tables and lists take " + std::to_string(args->tables_bytes) + " bytes, the plan has room for " +
                         std::to_string(plan->tables_capacity_bytes) + " (Problem::tables, Problem::max_tables_bytes)");
    return Args(args);
}

uint64_t Args::tables_bytes() const { return impl_->tables_bytes; }
ListLayout Args::list_layout() const { return impl_->list_layout; }

std::vector<uint64_t> Args::table_offsets(std::string_view name) const {
    std::vector<uint64_t> offsets;
    size_t index = 0;
    for (const Tree* tree : {impl_->plan->mask.get(), impl_->plan->score_mod.get()})
        for (const TableRef& table : tree->tables) {
            if (table.name == name) offsets.push_back(uint64_t{impl_->params.tables_info[index].offset_words} * 4);
            index++;
        }
    return offsets;
}

void Args::write_tables(std::span<uint8_t> bytes) const {
    const ArgsImpl& args = *impl_;
    for (size_t i = 0; i < args.tables.size(); i++) {
        const TableData& table = *args.tables[i];
        uint8_t* destination = bytes.data() + uint64_t{args.params.tables_info[i].offset_words} * 4;
        const size_t count = static_cast<size_t>(table.count());
        switch (table.type) {
        case Type::boolean: std::memcpy(destination, table.boolean.data(), count); break;
        case Type::i32: std::memcpy(destination, table.i32.data(), count * 4); break;
        case Type::f32: std::memcpy(destination, table.f32.data(), count * 4); break;
        }
    }
    if (args.padded_blocks != nullptr) {
        const PaddedBlocks& blocks = *args.padded_blocks;
        const auto write = [&](uint64_t offset, const std::vector<int32_t>& values) {
            if (!values.empty()) std::memcpy(bytes.data() + offset, values.data(), values.size() * sizeof(int32_t));
        };
        write(args.list_layout.num_blocks, blocks.num_blocks);
        write(args.list_layout.indices, blocks.indices);
        if (blocks.full_num_blocks.empty())
            std::memset(bytes.data() + args.list_layout.full_num_blocks, 0, blocks.num_blocks.size() * sizeof(int32_t));
        write(args.list_layout.full_num_blocks, blocks.full_num_blocks);
        write(args.list_layout.full_indices, blocks.full_indices);
    }
    if (args.block_mask != nullptr) {
        const BlockMask& list = *args.block_mask;
        std::memcpy(bytes.data() + uint64_t{args.params.list_offsets_words} * 4, list.row_offsets.data(),
                    list.row_offsets.size() * 4);
        if (!list.runs.empty())
            std::memcpy(bytes.data() + uint64_t{args.params.list_runs_words} * 4, list.runs.data(),
                        list.runs.size() * sizeof(BlockRun));
    }
    if (!args.tile_order.empty())
        std::memcpy(bytes.data() + uint64_t{args.params.tile_order_words} * 4, args.tile_order.data(),
                    args.tile_order.size() * 4);
}

}  // namespace vkattn
