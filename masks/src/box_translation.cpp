// How the values over a box change when an element moves by (dq, dkv) inside it: by one amount for all elements, or by
// nobody knows what. A mask of q - kv does not change along the diagonal, one of q % 64 not from one 64 rows to the next.
#include <algorithm>
#include <bit>
#include <numeric>

#include "box_program.h"

namespace vkattn::analysis {
namespace {

constexpr int64_t unknown = INT64_MIN;

bool fits(int64_t lo, int64_t hi) { return lo >= kI32Min && hi <= kI32Max; }

// Of positive ones; x where it would be too large to be of use.
int64_t common_multiple(int64_t x, int64_t y) {
    const int64_t multiple = x / std::gcd(x, y) * y;
    return multiple <= BoxEvaluator::max_period ? multiple : x;
}

// What x & mask leaves alone when x moves by a multiple of it; 0: nothing does.
int64_t period_of_mask(int64_t mask) {
    if (mask >= 0) return int64_t{1} << std::bit_width(static_cast<uint64_t>(mask));
    return std::has_single_bit(static_cast<uint64_t>(-mask)) ? -mask : 0;
}

}  // namespace

int64_t BoxEvaluator::period() const {
    std::vector<int64_t> periods(static_cast<size_t>(program_->n_values_), 1);
    for (const int group : {BoxProgram::kRow, BoxProgram::kColumn, BoxProgram::kPair}) {
        for (const Step& step : program_->steps_[group]) {
            int64_t& period = periods[static_cast<size_t>(step.out)];
            for (int a = 0; a < step.n_args; ++a)
                period = common_multiple(period, periods[static_cast<size_t>(step.args[a])]);
            if (step.type != Type::i32 || step.n_args != 2) continue;
            const Affine& y = value(step.args[1]);
            if (!y.point() || program_->group_[static_cast<size_t>(step.args[1])] != BoxProgram::kConstant) continue;
            int64_t factor = 1;
            if (step.op == Op::div || step.op == Op::mod) factor = y.min < 0 ? -y.min : y.min;
            if (step.op == Op::shr) factor = int64_t{1} << (y.min & 31);
            if (step.op == Op::bit_and) factor = period_of_mask(y.min);
            if (factor > 0 && period * factor <= max_period) period *= factor;
        }
    }
    return periods[static_cast<size_t>(program_->result_)];
}

bool BoxEvaluator::unchanged_by(int64_t dq, int64_t dkv) {
    shifts_.resize(static_cast<size_t>(program_->n_values_), 0);
    for (const int group : {BoxProgram::kRow, BoxProgram::kColumn, BoxProgram::kPair}) {
        for (const Step& step : program_->steps_[group]) {
            const int64_t shift = shift_of(step, dq, dkv);
            const bool compares = step.op == Op::lt || step.op == Op::le || step.op == Op::eq || step.op == Op::ne;
            if (shift == unknown && compares) return false;
            shifts_[static_cast<size_t>(step.out)] = shift;
        }
    }
    return shifts_[static_cast<size_t>(program_->result_)] == 0;
}

// By induction over the tape: for every element of the last box whose moved self is in it, too, the value of the moved
// one is this much larger. Wrapping would break the sum, so where it cannot be ruled out nothing is known.
int64_t BoxEvaluator::shift_of(const Step& step, int64_t dq, int64_t dkv) const {
    if (step.op == Op::q) return dq;
    if (step.op == Op::kv) return dkv;
    if (step.type != Type::f32 && value(step.out).point()) return 0;
    const auto shift = [&](int i) { return shifts_[static_cast<size_t>(step.args[i])]; };
    bool still = true, known = true;
    for (int i = 0; i < step.n_args; ++i) {
        still = still && shift(i) == 0;
        known = known && shift(i) != unknown;
    }
    if (still) return 0;
    if (step.op == Op::select) {
        const Affine& condition = value(step.args[0]);
        if (!condition.undecided()) return shift(condition.min != 0 ? 1 : 2);
        return shift(0) == 0 && shift(1) == shift(2) ? shift(1) : unknown;
    }
    if (step.type == Type::f32 || step.operand != Type::i32) return unknown;
    const auto arg = [&](int i) -> const Affine& { return value(step.args[i]); };
    if (step.op == Op::min || step.op == Op::max) {
        const Range d = difference(arg(0), arg(1), last_);
        const bool takes_low = step.op == Op::min;
        if (d.hi <= 0) return shift(takes_low ? 0 : 1);
        if (d.lo >= 0) return shift(takes_low ? 1 : 0);
        return shift(0) == shift(1) ? shift(0) : unknown;
    }
    if (!known) return unknown;
    const Affine& x = arg(0);
    const int64_t by = shift(0);
    if (step.n_args == 1) {
        if (step.op == Op::neg && x.min > kI32Min) return -by;
        if (step.op == Op::bit_not) return -by;
        if (step.op == Op::abs && x.min >= 0) return by;
        if (step.op == Op::abs && x.max <= 0 && x.min > kI32Min) return -by;
        return unknown;
    }
    if (step.n_args != 2) return unknown;
    const Affine& y = arg(1);
    if (step.op == Op::lt || step.op == Op::le || step.op == Op::eq || step.op == Op::ne) {
        return by == shift(1) ? 0 : unknown;
    }
    if (step.op == Op::add) return fits(x.min + y.min, x.max + y.max) ? by + shift(1) : unknown;
    if (step.op == Op::sub) return fits(x.min - y.max, x.max - y.min) ? by - shift(1) : unknown;
    if (step.op == Op::mul && x.point()) {
        return fits(std::min(y.min * x.min, y.max * x.min), std::max(y.min * x.min, y.max * x.min)) ? shift(1) * x.min
                                                                                                    : unknown;
    }
    if (!y.point()) return unknown;
    const int64_t shift_factor = int64_t{1} << (y.min & 31);
    if (step.op == Op::mul || step.op == Op::shl) {
        const int64_t factor = step.op == Op::mul ? y.min : shift_factor;
        const int64_t first = x.min * factor, second = x.max * factor;
        return fits(std::min(first, second), std::max(first, second)) ? by * factor : unknown;
    }
    if (step.op == Op::div || step.op == Op::shr) {
        const int64_t divisor = step.op == Op::div ? y.min : shift_factor;
        return divisor > 0 && by % divisor == 0 ? by / divisor : unknown;
    }
    if (step.op == Op::mod && y.min != 0) {
        if (by % y.min == 0) return 0;
        return floor_div(x.min, y.min) == floor_div(x.max, y.min) ? by : unknown;
    }
    if (step.op == Op::bit_and) {
        const int64_t period = period_of_mask(y.min);
        if (period != 0 && by % period == 0) return y.min >= 0 ? 0 : by;
    }
    return unknown;
}

}  // namespace vkattn::analysis
