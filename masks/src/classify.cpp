// A quadtree over the blocks: a box that is all empty or all full is settled at once; one whose blocks repeat along the
// columns, the rows or the diagonal is classified in one period and copied; others are halved, down to one block. What
// stays undecided there is settled by halving the block's own elements until one true and one false element are found.

#include "vkattn/classify.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <numeric>
#include <system_error>
#include <thread>

#include "box_program.h"
#include "classify_blocks.h"
#include "vkattn/evaluate.h"
#include "vkattn/normalise.h"

namespace vkattn {
namespace {

using analysis::Box;
using analysis::BoxEvaluator;
using analysis::BoxProgram;
using analysis::Verdict;

constexpr uint32_t kNone = ~0u;

// Where to cut [begin, end), at least two long: near the middle, at a multiple of a large power of two, so that boxes
// share their borders with each other, with the tables' groups and with the periods that masks are usually made of.
int64_t cut(int64_t begin, int64_t end) {
    const int64_t step = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(end - begin))) / 2;
    if (step == 0) return begin + 1;
    const int64_t middle = begin + (end - begin) / 2;
    const int64_t at = (middle + step / 2) / step * step;
    return at > begin && at < end ? at : middle;
}

// Likewise at a multiple of `period` where there is one: quotients and remainders are affine between those.
int64_t cut(int64_t begin, int64_t end, int64_t period) {
    const int64_t first = begin / period, last = (end + period - 1) / period;
    return last - first > 1 ? cut(first, last) * period : cut(begin, end);
}

// The two halves of an undecided box (the last that `boxes` was asked about), of more than one element.
void halve(const Box& box, const BoxEvaluator& boxes, int64_t period, std::vector<Box>& open) {
    const BoxEvaluator::Sides sides = boxes.undecided_sides();
    bool by_rows = box.rows() >= box.columns();
    if (sides.rows != sides.columns) by_rows = sides.rows ? box.rows() > 1 : box.columns() == 1;
    Box lower = box, upper = box;
    if (by_rows) {
        upper.q0 = cut(box.q0, box.q1 + 1, period);
        lower.q1 = upper.q0 - 1;
    } else {
        upper.kv0 = cut(box.kv0, box.kv1 + 1, period);
        lower.kv1 = upper.kv0 - 1;
    }
    open.push_back(upper);
    open.push_back(lower);
}

bool at(Evaluator& pairs, int32_t b, int32_t h, int64_t q, int64_t kv) {
    return pairs.mask(b, h, static_cast<int32_t>(q), static_cast<int32_t>(kv));
}

// The runs of neighbouring block rows while they grow: a list per row inside one array.
class GrowingRuns {
  public:
    void reset(int64_t first_row, int64_t end_row) {
        first_row_ = first_row;
        head_.assign(static_cast<size_t>(end_row - first_row), kNone);
        tail_.assign(static_cast<size_t>(end_row - first_row), kNone);
        links_.clear();
    }
    // Columns of one row arrive in ascending order.
    void append(int64_t row, int64_t begin, int64_t end, bool full) {
        const auto i = static_cast<size_t>(row - first_row_);
        const uint32_t tail = tail_[i];
        if (tail != kNone) {
            BlockRun& run = links_[tail].run;
            if (run.full() == full && run.first() + run.n_blocks == static_cast<uint32_t>(begin)) {
                run.n_blocks += static_cast<uint32_t>(end - begin);
                return;
            }
        }
        const auto link = static_cast<uint32_t>(links_.size());
        links_.push_back(
            {{static_cast<uint32_t>(begin) | (full ? 1u << 31 : 0u), static_cast<uint32_t>(end - begin)}, kNone});
        (tail != kNone ? links_[tail].next : head_[i]) = link;
        tail_[i] = link;
    }
    // Calls visit(begin, end, full) for the row's runs.
    template <class F>
    void for_each(int64_t row, const F& visit) const {
        for (uint32_t link = head_[static_cast<size_t>(row - first_row_)]; link != kNone; link = links_[link].next) {
            const BlockRun& run = links_[link].run;
            visit(int64_t{run.first()}, int64_t{run.first()} + run.n_blocks, run.full());
        }
    }
    const BlockRun* only_run(int64_t row) const {  // null: none, or several
        const uint32_t head = head_[static_cast<size_t>(row - first_row_)];
        return head == kNone || links_[head].next != kNone ? nullptr : &links_[head].run;
    }
    size_t n_runs() const { return links_.size(); }
    void move_into(BlockMask& block_mask) {
        for (const uint32_t head : head_) {
            for (uint32_t link = head; link != kNone; link = links_[link].next)
                block_mask.runs.push_back(links_[link].run);
            block_mask.row_offsets.push_back(static_cast<uint32_t>(block_mask.runs.size()));
        }
        *this = {};
    }

  private:
    struct Link {
        BlockRun run;
        uint32_t next = kNone;
    };
    int64_t first_row_ = 0;
    std::vector<uint32_t> head_, tail_;
    std::vector<Link> links_;
};

struct Band {  // block rows [row_begin, row_end) of one (b, h), from a column on
    int32_t b = 0, h = 0;
    int64_t row_begin = 0, row_end = 0, column_begin = 0;
    GrowingRuns runs;
};

struct Job {
    const BoxProgram& program;
    const Evaluator& evaluator;  // copied by each thread
    const ClassifyOptions& options;
    int64_t q_len, kv_len, columns;
    std::vector<Band> bands;
    std::atomic<size_t> next_band{0};
    std::atomic<uint64_t> n_runs{0};
    std::atomic<bool> too_many_runs{false};
};

class Classifier {
  public:
    explicit Classifier(Job& job) : job_(job), boxes_(job.program), pairs_(job.evaluator) {}

    void work() {
        for (size_t i = job_.next_band++; i < job_.bands.size(); i = job_.next_band++) {
            Band& band = job_.bands[i];
            b_ = band.b;
            h_ = band.h;
            boxes_.bind(b_, h_);
            period_ = boxes_.period();
            band.runs.reset(band.row_begin, band.row_end);
            band_runs_ = &band.runs;
            counted_ = 0;
            classify({band.row_begin, band.row_end, band.column_begin, job_.columns}, band.runs);
            if (job_.too_many_runs) return;
        }
    }

  private:
    struct Blocks {  // [row0, row1) x [column0, column1)
        int64_t row0, row1, column0, column1;

        int64_t rows() const { return row1 - row0; }
        int64_t columns() const { return column1 - column0; }
    };

    Box elements(const Blocks& blocks) const {
        const int64_t block_q = job_.options.block_q, block_kv = job_.options.block_kv;
        return {blocks.row0 * block_q, std::min(job_.q_len, blocks.row1 * block_q) - 1, blocks.column0 * block_kv,
                std::min(job_.kv_len, blocks.column1 * block_kv) - 1};
    }

    // Appends the runs of `all` to its rows. Calls itself for parts of it, at most four deep.
    void classify(const Blocks& all, GrowingRuns& runs) {
        // The last visited first: columns of one row ascend. Blocks that end early are not like their neighbours.
        std::vector<Blocks> open;
        const int64_t whole_rows = std::clamp(job_.q_len / job_.options.block_q, all.row0, all.row1);
        const int64_t whole_columns = std::clamp(job_.kv_len / job_.options.block_kv, all.column0, all.column1);
        const auto push = [&open](const Blocks& blocks) {
            if (blocks.rows() > 0 && blocks.columns() > 0) open.push_back(blocks);
        };
        push({whole_rows, all.row1, whole_columns, all.column1});
        push({whole_rows, all.row1, all.column0, whole_columns});
        push({all.row0, whole_rows, whole_columns, all.column1});
        push({all.row0, whole_rows, all.column0, whole_columns});
        while (!open.empty() && !job_.too_many_runs) {
            const Blocks blocks = open.back();
            open.pop_back();
            const int64_t rows = blocks.rows(), columns = blocks.columns();
            const bool one_block = rows == 1 && columns == 1;
            const Box box = elements(blocks);
            // Unrefined, one block's equal ids are compared at once; refined, only where witnesses do not do.
            const Verdict verdict = boxes_.over(box, one_block && job_.options.refine == Refine::none);
            if (verdict == Verdict::empty) continue;
            if (verdict == Verdict::full || one_block) {
                const BlockKind kind = verdict == Verdict::full ? BlockKind::full : settle(box);
                if (kind == BlockKind::empty) continue;
                for (int64_t row = blocks.row0; row < blocks.row1; ++row) {
                    runs.append(row, blocks.column0, blocks.column1, kind == BlockKind::full);
                }
                check_limit(runs);
                continue;
            }
            constexpr int64_t worth_asking = 16;
            if (rows * columns >= worth_asking && copy_periods(blocks, runs)) continue;
            const bool cut_rows = rows > 1 && columns<2 * rows, cut_columns = columns> 1 && rows < 2 * columns;
            const int64_t row = cut_rows ? cut(blocks.row0, blocks.row1) : blocks.row1;
            const int64_t column = cut_columns ? cut(blocks.column0, blocks.column1) : blocks.column1;
            if (cut_rows && cut_columns) open.push_back({row, blocks.row1, column, blocks.column1});
            if (cut_rows) open.push_back({row, blocks.row1, blocks.column0, column});
            if (cut_columns) open.push_back({blocks.row0, row, column, blocks.column1});
            open.push_back({blocks.row0, row, blocks.column0, column});
        }
        check_limit(runs);
    }

    // Classifies one period of the undecided box that `boxes_` was last asked about, and copies it, if it has two. All
    // blocks are of full size, except where only one of them lies across the direction.
    bool copy_periods(const Blocks& all, GrowingRuns& runs) {
        const int64_t block_q = job_.options.block_q, block_kv = job_.options.block_kv;
        const int64_t q_period = std::lcm(period_, block_q), kv_period = std::lcm(period_, block_kv);
        const int64_t rows = q_period / block_q, columns = kv_period / block_kv;
        const bool wide = 2 * columns <= all.columns(), tall = 2 * rows <= all.rows();
        if (wide && boxes_.unchanged_by(0, kv_period)) {
            GrowingRuns first = classified({all.row0, all.row1, all.column0, all.column0 + columns});
            for (int64_t row = all.row0; row < all.row1 && !job_.too_many_runs; ++row) {
                check_limit(runs);
                const BlockRun* run = first.only_run(row);
                if (run != nullptr && run->n_blocks == columns) {
                    runs.append(row, all.column0, all.column1, run->full());
                    continue;
                }
                for (int64_t by = 0; by < all.columns() && !over_limit(runs); by += columns) {
                    copy_row(first, row, by, all.column1, row, runs);
                }
            }
            check_limit(runs);
            return true;
        }
        if (tall && boxes_.unchanged_by(q_period, 0)) {
            GrowingRuns first = classified({all.row0, all.row0 + rows, all.column0, all.column1});
            for (int64_t row = all.row0; row < all.row1 && !job_.too_many_runs; ++row) {
                copy_row(first, all.row0 + (row - all.row0) % rows, 0, all.column1, row, runs);
                check_limit(runs);
            }
            return true;
        }
        if (!wide || !tall) return false;  // from here on both periods are below 2^30
        const int64_t both = std::lcm(q_period, kv_period), down = both / block_q, right = both / block_kv;
        if (2 * down <= all.rows() && 2 * right <= all.columns() && boxes_.unchanged_by(both, both)) {
            copy_diagonally(all, down, right, runs);
            return true;
        }
        return false;
    }

    // The first `down` rows and the first `right` columns are classified; every other block is what the one `down`
    // rows above and `right` columns before it is.
    void copy_diagonally(const Blocks& all, int64_t down, int64_t right, GrowingRuns& runs) {
        const int64_t row1 = all.row0 + down;
        const GrowingRuns top = classified({all.row0, row1, all.column0, all.column1});
        const GrowingRuns left = classified({row1, all.row1, all.column0, all.column0 + right});
        struct Run {
            int64_t begin, end;
            bool full;
        };
        std::vector<std::vector<Run>> above(static_cast<size_t>(down));  // the last rows, in turn
        std::vector<Run> next;
        for (int64_t row = all.row0; row < all.row1 && !job_.too_many_runs; ++row) {
            std::vector<Run>& here = above[static_cast<size_t>((row - all.row0) % down)];
            next.clear();
            const auto add = [&next](int64_t begin, int64_t end, bool full) {
                if (!next.empty() && next.back().full == full && next.back().end == begin) next.back().end = end;
                else next.push_back({begin, end, full});
            };
            (row < row1 ? top : left).for_each(row, add);
            if (row >= row1) {
                for (const Run& run : here) {
                    if (run.begin + right >= all.column1) break;
                    add(run.begin + right, std::min(run.end + right, all.column1), run.full);
                }
            }
            std::swap(here, next);
            for (const Run& run : here) runs.append(row, run.begin, run.end, run.full);
            check_limit(runs);
        }
    }

    GrowingRuns classified(const Blocks& blocks) {
        GrowingRuns runs;
        runs.reset(blocks.row0, blocks.row1);
        classify(blocks, runs);
        return runs;
    }

    // Row `from` of `runs`, `by` columns to the right and cut off at `end`, into row `to`.
    static void copy_row(const GrowingRuns& from_runs, int64_t from, int64_t by, int64_t end, int64_t to,
                         GrowingRuns& runs) {
        from_runs.for_each(from, [&](int64_t begin, int64_t run_end, bool full) {
            if (begin + by < end) runs.append(to, begin + by, std::min(run_end + by, end), full);
        });
    }

    // Other threads' runs count, too. Those of a part are copied at least once, so they alone must not be too many.
    void check_limit(const GrowingRuns& runs) {
        if (&runs == band_runs_) {
            job_.n_runs += runs.n_runs() - counted_;
            counted_ = runs.n_runs();
            if (job_.n_runs > job_.options.max_runs) job_.too_many_runs = true;
        } else if (over_limit(runs)) {
            job_.too_many_runs = true;
        }
    }
    bool over_limit(const GrowingRuns& runs) const { return runs.n_runs() > job_.options.max_runs; }

    // One element: floats are decided only where every device agrees.
    Verdict element(int64_t q, int64_t kv) {
        if (job_.program.integer_only()) return at(pairs_, b_, h_, q, kv) ? Verdict::full : Verdict::empty;
        return boxes_.over({q, q, kv, kv}, true);
    }

    BlockKind settle(const Box& block) {
        if (job_.options.refine == Refine::none || boxes_.result().half_plane()) return BlockKind::partial;
        constexpr int64_t one_by_one = 8;
        bool any_true = false, any_false = false, any_undecided = false;
        const auto note = [&](Verdict verdict) {
            any_true = any_true || verdict == Verdict::full;
            any_false = any_false || verdict == Verdict::empty;
        };
        const auto ask = [&](int64_t q, int64_t kv) {
            const Verdict verdict = element(q, kv);
            note(verdict);
            any_undecided = any_undecided || verdict == Verdict::undecided;
            return any_undecided || (any_true && any_false);
        };
        refining_.assign(1, block);
        for (bool first = true; !refining_.empty(); first = false) {
            const Box box = refining_.back();
            refining_.pop_back();
            if (!first) {
                const Verdict verdict = boxes_.over(box, true);
                note(verdict);
                if ((any_true && any_false) || boxes_.result().half_plane()) return BlockKind::partial;
                if (verdict != Verdict::undecided) continue;
            }
            if (box.area() <= one_by_one) {
                for (int64_t q = box.q0; q <= box.q1; ++q) {
                    for (int64_t kv = box.kv0; kv <= box.kv1; ++kv) {
                        if (ask(q, kv)) return BlockKind::partial;
                    }
                }
                continue;
            }
            // Most masks follow a diagonal, so the corners off it differ first.
            if (ask(box.q0, box.kv1) || ask(box.q1, box.kv0) || ask(box.q0, box.kv0) || ask(box.q1, box.kv1)) {
                return BlockKind::partial;
            }
            if (first) {
                const Verdict verdict = boxes_.over(box, true);
                note(verdict);
                if (any_true && any_false) return BlockKind::partial;
                if (verdict != Verdict::undecided) continue;
            }
            halve(box, boxes_, period_, refining_);
        }
        return any_true ? BlockKind::full : BlockKind::empty;
    }

    Job& job_;
    BoxEvaluator boxes_;
    Evaluator pairs_;
    int32_t b_ = 0, h_ = 0;
    int64_t period_ = 1;  // in elements
    std::vector<Box> refining_;
    const GrowingRuns* band_runs_ = nullptr;
    size_t counted_ = 0;
};

// A thread that cannot be had is done without.
void run_threads(Job& job, int32_t n_threads) {
    std::vector<std::thread> threads;
    try {
        for (int32_t i = 1; i < n_threads; ++i) threads.emplace_back([&job] { Classifier(job).work(); });
    } catch (const std::system_error&) {}
    Classifier(job).work();
    for (std::thread& thread : threads) thread.join();
}

struct Prepared {
    BoxProgram program;
    Evaluator evaluator;
};
Result<Prepared> prepare(const Mask& mask, const Shape& shape, const Bindings& bindings) {
    if (!mask.status().ok()) return mask.status();
    if (Status status = check(shape); !status.ok()) return status;
    Result<ResolvedBindings> resolved = resolve(mask.tree(), bindings, shape);
    if (!resolved.ok()) return resolved.status();
    Result<BoxProgram> program = BoxProgram::make(mask.tree(), shape, *resolved);
    if (!program.ok()) return program.status();
    Result<Evaluator> evaluator = Evaluator::make(std::make_shared<const Tree>(mask.tree()), shape, *resolved);
    if (!evaluator.ok()) return evaluator.status();
    return Prepared{*std::move(program), *std::move(evaluator)};
}

// What the lists were made of, so that a plan can tell stale ones.
Status remember_origin(const Mask& mask, const Shape& shape, const Bindings& bindings, BlockMask& block_mask) {
    Result<Tree> normal = normalise(mask);
    if (!normal.ok()) return normal.status();
    Result<ResolvedBindings> resolved = resolve(*normal, bindings, shape);
    if (!resolved.ok()) return resolved.status();
    block_mask.structure_hash = structure_hash(*normal);
    block_mask.slot_values = slot_values(*normal, *resolved);
    block_mask.tables_hash = tables_hash(*resolved);
    return {};
}

// Bands are work for threads, but do not depend on their number, so neither do the lists. Each is long enough to have
// most of its rows copied from a period of the mask.
int64_t n_bands(const BoxProgram& program, int64_t rows, int64_t block_q, int64_t planes) {
    constexpr int64_t min_rows = 128, min_periods = 16, max_bands = 64;
    BoxEvaluator boxes(program);
    boxes.bind(0, 0);
    const int64_t period_rows = std::lcm(boxes.period(), block_q) / block_q;
    const int64_t bands = rows / std::max(min_rows, min_periods * period_rows);
    return std::clamp<int64_t>(bands, 1, std::max<int64_t>(max_bands / planes, 1));
}

Status check_options(const ClassifyOptions& options) {
    if (options.block_q < 1 || options.block_kv < 1) {
        return error(Code::invalid_argument, "block sizes are " + std::to_string(options.block_q) + " x " +
                                                 std::to_string(options.block_kv) + "; both must be at least 1");
    }
    if (options.threads < 1) {
        return error(Code::invalid_argument,
                     "threads is " + std::to_string(options.threads) + "; it must be at least 1");
    }
    return {};
}

Status too_many(const char* what, uint64_t limit) {
    return error(Code::limit_exceeded, std::string("the block mask needs more than max_runs = ") +
                                           std::to_string(limit) + " " + what +
                                           "; use larger blocks, or raise max_runs (at most 2^32 - 1)");
}

}  // namespace

Result<BlockMask> create_block_mask(const Mask& mask, const Shape& shape, const Bindings& bindings,
                                    const ClassifyOptions& options) {
    return classify_blocks(mask, shape, bindings, options, {});
}

Result<BlockMask> classify_blocks(const Mask& mask, const Shape& shape, const Bindings& bindings,
                                  const ClassifyOptions& options, const KnownBlocks& known) {
    if (Status status = check_options(options); !status.ok()) return status;
    Result<Prepared> prepared = prepare(mask, shape, bindings);
    if (!prepared.ok()) return prepared.status();

    BlockMask result;
    result.shape = shape;
    result.block_q = options.block_q;
    result.block_kv = options.block_kv;
    result.batch = prepared->program.depends_on_b() ? shape.batch : 1;
    result.heads = prepared->program.depends_on_h() ? shape.q_heads : 1;
    if (Status status = remember_origin(mask, shape, bindings, result); !status.ok()) return status;

    ClassifyOptions bounded = options;
    bounded.max_runs = std::min<uint64_t>(options.max_runs, ~0u);
    const int64_t planes = int64_t{result.batch} * result.heads, rows = result.rows();
    if (rows > 0 && static_cast<uint64_t>(planes) > bounded.max_runs / static_cast<uint64_t>(rows)) {
        return too_many("block rows", bounded.max_runs);
    }
    Job job{
        prepared->program, prepared->evaluator, bounded, shape.q_len, shape.kv_len, result.columns(), {}, {}, {}, {}};
    const int64_t bands_per_plane = n_bands(prepared->program, rows, bounded.block_q, planes);
    if (rows > 0 && result.columns() > 0) {
        job.bands.reserve(static_cast<size_t>(planes * (bands_per_plane + 1)));
        for (int64_t i = 0; i < planes * bands_per_plane; ++i) {
            const int64_t plane = i / bands_per_plane, band = i % bands_per_plane;
            const auto add = [&](int64_t row_begin, int64_t row_end, int64_t column_begin) {
                if (row_begin >= row_end) return;
                Band& added = job.bands.emplace_back();
                added.b = static_cast<int32_t>(plane / result.heads);
                added.h = static_cast<int32_t>(plane % result.heads);
                added.row_begin = row_begin;
                added.row_end = row_end;
                added.column_begin = column_begin;
            };
            const int64_t row_begin = rows * band / bands_per_plane, row_end = rows * (band + 1) / bands_per_plane;
            add(row_begin, std::min(row_end, known.rows), known.columns);
            add(std::max(row_begin, known.rows), row_end, 0);
        }
        run_threads(job,
                    static_cast<int32_t>(std::min<int64_t>(options.threads, static_cast<int64_t>(job.bands.size()))));
        if (job.too_many_runs) return too_many("runs", bounded.max_runs);
    }

    result.runs.reserve(job.n_runs);
    result.row_offsets.reserve(static_cast<size_t>(planes * rows) + 1);
    result.row_offsets.push_back(0);
    for (Band& band : job.bands) band.runs.move_into(result);
    result.row_offsets.resize(static_cast<size_t>(planes * rows) + 1, 0);  // no columns: rows without runs
    return result;
}

Result<int64_t> count_pairs(const Mask& mask, const Shape& shape, const Bindings& bindings) {
    Result<Prepared> prepared = prepare(mask, shape, bindings);
    if (!prepared.ok()) return prepared.status();
    const BoxProgram& program = prepared->program;
    if (shape.q_len == 0 || shape.kv_len == 0) return int64_t{0};

    constexpr int64_t one_by_one = 16;
    const int32_t batch = program.depends_on_b() ? shape.batch : 1, heads = program.depends_on_h() ? shape.q_heads : 1;
    const int64_t copies = (int64_t{shape.batch} / batch) * (int64_t{shape.q_heads} / heads);
    BoxEvaluator boxes(program);
    Evaluator& evaluator = prepared->evaluator;
    std::vector<Box> open;
    int64_t total = 0;
    for (int32_t b = 0; b < batch; ++b) {
        for (int32_t h = 0; h < heads; ++h) {
            boxes.bind(b, h);
            const int64_t period = boxes.period();
            int64_t pairs = 0;  // at most 2^62
            open.assign(1, {0, int64_t{shape.q_len} - 1, 0, int64_t{shape.kv_len} - 1});
            while (!open.empty()) {
                const Box box = open.back();
                open.pop_back();
                if (box.area() <= one_by_one) {
                    for (int64_t q = box.q0; q <= box.q1; ++q) {
                        for (int64_t kv = box.kv0; kv <= box.kv1; ++kv) pairs += at(evaluator, b, h, q, kv) ? 1 : 0;
                    }
                    continue;
                }
                const Verdict verdict = boxes.over(box, box.area() <= 128 * 128);
                if (verdict == Verdict::full) pairs += box.area();
                if (verdict != Verdict::undecided) continue;
                if (boxes.result().half_plane()) {
                    const analysis::Affine& plane = boxes.result();
                    pairs += analysis::count_half_plane(plane.a, plane.c, plane.lo, box);
                    continue;
                }
                halve(box, boxes, period, open);
            }
            if (pairs > (INT64_MAX - total) / copies) {
                return error(Code::limit_exceeded, "the number of pairs does not fit a 64-bit count");
            }
            total += pairs * copies;
        }
    }
    return total;
}

}  // namespace vkattn
