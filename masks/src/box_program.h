// A mask's tape made ready to be asked about boxes: constants apart, tables summarised, unequal ids renamed.
#pragma once

#include <cstdint>
#include <vector>

#include "affine.h"
#include "interval_f32.h"
#include "table_pyramid.h"
#include "vkattn/bindings.h"
#include "vkattn/result.h"
#include "vkattn/tree.h"

namespace vkattn::analysis {

enum class Verdict : uint8_t { empty, undecided, full };  // empty and full are proofs

// Immutable; shared by the threads of one classification.
class BoxProgram {
  public:
    enum class Keep : uint8_t { result, every_node };  // what BoxEvaluator::value() will be asked for
    static Result<BoxProgram> make(const Tree& tree, const Shape& shape, const ResolvedBindings& bindings,
                                   Keep keep = Keep::result);

    bool depends_on_b() const { return depends_on_b_; }
    bool depends_on_h() const { return depends_on_h_; }
    // No float anywhere: a single element is always decided, and by the same integer arithmetic on every device.
    bool integer_only() const { return integer_only_; }

  private:
    friend class BoxEvaluator;

    struct Step {
        Op op = Op::literal;
        Type type = Type::boolean;
        Type operand = Type::boolean;  // of args[0]
        uint8_t n_args = 0;
        bool same_args = false;  // args[0] is args[1]
        uint32_t bits = 0;       // of a constant leaf
        int32_t args[4] = {-1, -1, -1, -1};
        int32_t out = -1;
        int32_t table = -1;                   // index into tables_
        int32_t first_hint = 0, n_hints = 0;  // eq, ne: into table_pairs_; logical_and, logical_or: into sums_
    };
    struct TablePair {  // the two lookups that an equality compares
        int32_t table[2] = {-1, -1};
        int32_t args[2][4] = {};
    };
    // Two comparisons x <= y taken together: when  (x0 - y0) + (x1 - y1) + strict  is positive they cannot both hold.
    struct SumTest {
        int32_t x[2] = {}, y[2] = {};
        int64_t strict = 0;
    };

    int32_t add_table(std::shared_ptr<const TableData> data, bool varying);
    void add_labels(Step& equality, const Tree& tree, const std::vector<uint8_t>& depends);
    void add_sum_tests(Step& junction, const Tree& tree, int32_t node);
    void drop_unused(int32_t result);

    // Steps in tape order, grouped by what they depend on besides b and h: nothing, q, kv, or both.
    enum Group : uint8_t { kConstant = 0, kRow = 1, kColumn = 2, kPair = 3 };
    std::vector<Step> steps_[4];
    std::vector<TableSummary> tables_;
    std::vector<TablePair> table_pairs_;
    std::vector<SumTest> sums_;
    std::vector<uint8_t> group_;  // of each value
    int32_t n_values_ = 0, result_ = -1;
    bool depends_on_b_ = false, depends_on_h_ = false, integer_only_ = true;
};

// One thread's scratch. bind() first.
class BoxEvaluator {
  public:
    explicit BoxEvaluator(const BoxProgram& program);
    void bind(int32_t b, int32_t h);

    // `look_into_tables`: compare the values of equal ids themselves where their ranges overlap; worth it from one
    // block downwards.
    Verdict over(const Box& box, bool look_into_tables);
    // Which sides of the last, undecided box are worth halving: `ids[q] == ids[kv]` with one id among the rows waits
    // for the columns.
    struct Sides {
        bool rows = false, columns = false;
    };
    Sides undecided_sides() const;
    // Whether the last box's elements keep their result when they are moved by this much, less than the box's size, and
    // stay in it. false: perhaps not.
    bool unchanged_by(int64_t dq, int64_t dkv);
    // Moved by a multiple of this, quotients and remainders by constants repeat, as far as their constants tell; those
    // that would take it beyond max_period are left out. A guess at what unchanged_by() may say yes to.
    int64_t period() const;
    static constexpr int64_t max_period = 1 << 14;
    // The last box's result, for its half plane; and the value of any node that is no float.
    const Affine& result() const { return value(program_->result_); }
    const Affine& value(int32_t node) const { return ints_[static_cast<size_t>(node)]; }

  private:
    using Step = BoxProgram::Step;
    void run_all(int group, const Box& box);
    void run(const Step& step, const Box& box);
    void run_f32(const Step& step);
    int64_t shift_of(const Step& step, int64_t dq, int64_t dkv) const;
    Affine equality(const Step& step, const Box& box);
    bool never_together(const Step& step, const Box& box) const;
    void gather(const int32_t* args, uint8_t n_args, Range* indices) const;

    const BoxProgram* program_;
    std::vector<Affine> ints_;  // by position; f32 values live in floats_
    std::vector<IntervalF32> floats_;
    std::vector<int64_t> shifts_;  // of unchanged_by(), by position
    SharedValues shared_values_;
    int32_t b_ = 0, h_ = 0;
    Box last_;
    bool look_into_tables_ = false;
};

}  // namespace vkattn::analysis
