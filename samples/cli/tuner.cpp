#include "tuner.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <set>

#include "command.h"
#include "sampled_rows.h"

namespace vkattn::cli {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Is a result this attention's? Sampled rows against the reference within the bound of `vkattn run --check`; all rows against those of
// plan()'s own choice, which both lie within the bound of what is right, and so within two bounds of each other.
class Verifier {
  public:
    static Result<Verifier> make(const Description& description, const AttentionTensors& tensors) {
        Verifier made(tensors);
        constexpr double products = 1e8;  // of the reference: a tenth of a second
        const double of_a_row = std::max(1.0, double{1} * tensors.shape.kv_len * tensors.head_dim);
        made.rows_ = sample_rows(tensors.shape, static_cast<int32_t>(std::clamp(products / of_a_row, 6.0, 48.0)));
        for (const bool matrix : {false, true}) {
            if (matrix && tensors.v.type == ElementType::f32) continue;
            auto reference = reference_rows(description.mask, description.score_mod, description.bindings, tensors,
                                            made.rows_, matrix ? ulp_at_one(tensors.v.type) / 2.0 : 0.0);
            if (!reference) return reference.status();
            made.reference_[matrix ? 1 : 0] = std::move(*reference);
        }
        return made;
    }

    // What is wrong; empty: nothing. The first result is the one that later ones are compared with.
    std::string check(const Attended& attended, const PlanReport& report) {
        const size_t matrix = report.path == "scalar" ? 0 : 1;
        const auto o = widened(attended.o, tensors_.q.type);
        const auto rows = static_cast<int64_t>(rows_.size());
        errors_ = compare_rows(reference_[matrix], pick_rows(o, tensors_.shape, tensors_.value_dim, rows_).data(), rows,
                               tensors_.value_dim, ulp_at_one(tensors_.q.type));
        if (!errors_.ok())
            return "a row error of " + scientific(errors_.worst) + ", the bound is " + scientific(errors_.bound);
        const auto lse = pick_rows(attended.lse, tensors_.shape, 1, rows_);
        for (size_t i = 0; i < lse.size(); i++) {
            const double wanted = reference_[matrix].lse[i], got = double{lse[i]};
            if (wanted != got && !(std::abs(wanted - got) <= lse_bound * (1.0 + std::abs(wanted))))
                return "lse is " + scientific(got) + " instead of " + scientific(wanted);
        }
        const double bound = 2.0 * errors_.bound + (matrix == 1 ? 2.0 * ulp_at_one(tensors_.v.type) : 0.0);
        if (own_o_.empty()) {
            own_o_ = o;
            return {};
        }
        const double distance = distance_from_own(o);
        if (!(distance <= bound))
            return "a row is " + scientific(distance) + " away from the same row of plan()'s own, at most " +
                   scientific(bound) + " is right";
        return {};
    }
    const RowErrors& errors() const { return errors_; }

  private:
    explicit Verifier(const AttentionTensors& tensors) : tensors_(tensors) {}

    double distance_from_own(const std::vector<float>& o) const {
        const auto dv = static_cast<size_t>(tensors_.value_dim);
        double largest = 0.0, worst = 0.0;
        for (const float x : own_o_) largest = std::max(largest, std::abs(double{x}));
        for (size_t row = 0; row + dv <= o.size(); row += dv) {
            double row_max = 0.0, off = 0.0;
            for (size_t i = row; i < row + dv; i++) {
                row_max = std::max(row_max, std::abs(double{own_o_[i]}));
                const double difference = std::abs(double{o[i]} - double{own_o_[i]});
                if (!(difference <= off)) off = difference;  // NaN stays
            }
            if (off != 0.0 && !(off / (row_max + 0.02 * largest) <= worst)) worst = off / (row_max + 0.02 * largest);
            if (std::isnan(worst)) return worst;
        }
        return worst;
    }

    static constexpr double lse_bound = 1e-3;  // as for `vkattn run --check`
    const AttentionTensors& tensors_;
    std::vector<QueryRow> rows_;
    ReferenceOutput reference_[2];  // for exact weights, and for weights rounded as matrix units take them
    std::vector<float> own_o_;
    RowErrors errors_;
};

// What an attempt compiles, up to a factor that is one kernel's own.
double unrolled(const KernelSizes& sizes) {
    if (sizes.path != Path::scalar) return double{1} * sizes.step_keys * sizes.tile_rows;
    if (sizes.skeleton == Skeleton::tiles) return double{1} * sizes.micro_rows * sizes.micro_cols;
    return sizes.skeleton == Skeleton::decode ? sizes.tile_rows : sizes.step_keys;
}

// Times of two in turns, who goes first in turns, too.
struct Comparison {
    std::vector<double> a_ms, b_ms, ratios;  // b to a
    double ratio = 1.0, spread = 0.0;

    void settle() {
        ratio = median(ratios);
        std::vector<double> distances;
        for (const double r : ratios) distances.push_back(std::abs(r - ratio));
        spread = median(std::move(distances));
    }
    // By more than the spread, and by enough to matter.
    bool faster(double least_gain) const { return ratio + 2.0 * spread < 1.0 && ratio < 1.0 - least_gain; }
};

using Planned = AttentionRun::Planned;

class Search {
  public:
    Search(Engine& engine, AttentionRun& attention, Verifier& verifier, const TunerLimits& limits, Tuned& tuned,
           const std::function<void(const Tuned&)>& tried)
        : engine_(engine), attention_(attention), verifier_(verifier), limits_(limits), tuned_(tuned), tried_(tried) {}

    Status run() {
        auto own = attention_.plan(engine_, attention_.problem());
        if (!own) return own.status();
        tuned_.key = own->report().tuning_key;
        tuned_.own = own->report().sizes;
        auto first = checked_run(*own);
        if (!first) return first.status();
        tuned_.own_errors = verifier_.errors();
        if (!first->empty()) return error(Code::device_error, "plan()'s own kernel is wrong: " + *first);
        costs_.push_back({tuned_.own, seconds_since(start_)});
        auto again = own->run();
        if (!again) return again.status();
        tuned_.own_ms = again->ms;
        tuned_.device_clock = again->device_clock;
        tried_(tuned_);

        std::optional<Planned> best;  // none: own
        KernelSizes best_sizes = tuned_.own;
        seen_.insert(best_sizes);
        for (bool moved = true; moved;) {
            moved = false;
            auto neighbours = engine_.neighbours(attention_.problem(), best_sizes);
            if (!neighbours) return neighbours.status();
            tuned_.untried = 0;
            for (const KernelSizes& sizes : *neighbours) {
                if (seen_.contains(sizes)) continue;
                if (!fits_budget(sizes)) {
                    tuned_.untried++;
                    continue;
                }
                seen_.insert(sizes);
                auto candidate = attempt(sizes, best ? *best : *own);
                if (!candidate) return candidate.status();
                if (!candidate->has_value()) continue;
                best = std::move(*candidate);
                best_sizes = sizes;
                moved = true;
                break;
            }
        }
        return best ? confirm(*own, *best, best_sizes) : Status();
    }

  private:
    struct Cost {
        KernelSizes sizes;
        double seconds;
    };

    double left_s() const { return limits_.budget_s - seconds_since(start_); }

    // Compiling is most of an attempt's time, and grows with the square of what is unrolled. A kernel that was not tried yet is taken
    // for twice as slow as the slowest that was.
    bool fits_budget(const KernelSizes& sizes) const {
        double expected = 0.0;
        for (const Cost& cost : costs_) {
            const bool same = cost.sizes.path == sizes.path && cost.sizes.skeleton == sizes.skeleton;
            const double growth = same ? std::max(unrolled(sizes) / unrolled(cost.sizes), 1.0) : std::sqrt(2.0);
            if (same || costs_.size() == 1) expected = std::max(expected, cost.seconds * growth * growth);
            else expected = std::max(expected, cost.seconds);
        }
        const double confirming = 4.0 * static_cast<double>(limits_.max_pairs) * tuned_.own_ms / 1000.0;
        return expected + std::min(confirming, 0.2 * limits_.budget_s) <= left_s();
    }

    // Cleared, run and judged: what is wrong, or nothing.
    Result<std::string> checked_run(const Planned& planned) {
        if (Status status = attention_.clear(); !status.ok()) return status;
        if (auto time = planned.run(); !time) return time.status();
        auto attended = attention_.download();
        if (!attended) return attended.status();
        last_ = std::move(*attended);
        return verifier_.check(last_, planned.report());
    }

    // The candidate when it is the new best.
    Result<std::optional<Planned>> attempt(const KernelSizes& sizes, const Planned& best) {
        const auto begin = Clock::now();
        Attempt attempt;
        attempt.sizes = sizes;
        auto finish = [&](Verdict verdict, std::string words) {
            attempt.verdict = verdict;
            attempt.words = std::move(words);
            attempt.seconds = seconds_since(begin);
            costs_.push_back({sizes, attempt.seconds});
            tuned_.attempts.push_back(attempt);
            tried_(tuned_);
        };
        Problem problem = attention_.problem();
        problem.sizes = sizes;
        auto planned = attention_.plan(engine_, problem);
        if (!planned) {
            if (planned.status().vk_result == VK_ERROR_DEVICE_LOST) return planned.status();
            const std::string& why = planned.status().message;
            finish(Verdict::refused, why.substr(0, why.find('\n')));
            return std::optional<Planned>();
        }
        auto wrong = checked_run(*planned);
        if (!wrong) return wrong.status();
        if (!wrong->empty()) {
            finish(Verdict::wrong, *wrong);
            return std::optional<Planned>();
        }
        const Attended first = last_;
        auto comparison = compare(best, *planned, limits_.max_pairs);
        if (!comparison) return comparison.status();
        attempt.ms = median(comparison->b_ms);
        attempt.ratio = comparison->ratio;
        attempt.spread = comparison->spread;
        if (!comparison->faster(limits_.least_gain)) {
            finish(Verdict::slower, {});
            return std::optional<Planned>();
        }
        if (auto again = checked_run(*planned); !again) return again.status();
        if (last_.o != first.o || !same_floats(last_.lse, first.lse)) {
            finish(Verdict::wrong, "the same call twice gave different bits");
            return std::optional<Planned>();
        }
        finish(Verdict::faster, {});
        return std::optional<Planned>(std::move(*planned));
    }

    static bool same_floats(const std::vector<float>& a, const std::vector<float>& b) {
        return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                          [](float x, float y) { return x == y || (std::isnan(x) && std::isnan(y)); });
    }

    // A B, B A, ...: as long as it is not clear that b is slower.
    Result<Comparison> compare(const Planned& a, const Planned& b, size_t most) const {
        constexpr double hopeless = 1.1;
        Comparison comparison;
        for (size_t i = 0; i < most; i++) {
            double ms[2] = {};
            for (const size_t turn : {i % 2, 1 - i % 2}) {
                auto time = (turn == 0 ? a : b).run();
                if (!time) return time.status();
                ms[turn] = time->ms;
            }
            comparison.a_ms.push_back(ms[0]);
            comparison.b_ms.push_back(ms[1]);
            comparison.ratios.push_back(ms[1] / std::max(ms[0], 1e-6));
            comparison.settle();
            if (i + 1 >= limits_.min_pairs && (comparison.ratio > hopeless || left_s() < 0.0)) break;
        }
        return comparison;
    }

    Status confirm(const Planned& own, const Planned& best, const KernelSizes& sizes) {
        auto comparison = compare(own, best, 2 * limits_.max_pairs);
        if (!comparison) return comparison.status();
        tuned_.own_ms = median(comparison->a_ms);
        tuned_.ratio = comparison->ratio;
        tuned_.spread = comparison->spread;
        if (!comparison->faster(limits_.least_gain)) return {};
        const auto us = [](double ms) { return static_cast<uint32_t>(std::clamp(ms * 1000.0, 0.0, 4e9)); };
        tuned_.found = TunedSizes{sizes, us(median(comparison->a_ms)), us(median(comparison->b_ms))};
        return {};
    }

    Engine& engine_;
    AttentionRun& attention_;
    Verifier& verifier_;
    const TunerLimits limits_;
    Tuned& tuned_;
    const std::function<void(const Tuned&)>& tried_;
    const Clock::time_point start_ = Clock::now();
    std::vector<Cost> costs_;
    std::set<KernelSizes> seen_;
    Attended last_;
};

}  // namespace

Result<Tuned> tune_problem(const support::Device& device, Engine& engine, const AttentionTensors& tensors,
                           const Description& description, const BlockMask& block_mask, const RunWishes& wishes,
                           const TunerLimits& limits, const std::function<void(const Tuned&)>& tried) {
    auto attention = AttentionRun::create(device, tensors, description, block_mask, wishes);
    if (!attention) return attention.status();
    auto verifier = Verifier::make(description, tensors);
    if (!verifier) return verifier.status();
    Tuned tuned;
    Search search(engine, **attention, *verifier, limits, tuned, tried);
    if (Status status = search.run(); !status.ok()) return status;
    return tuned;
}

std::string difference(const KernelSizes& own, const KernelSizes& sizes) {
    if (own.path != sizes.path || own.skeleton != sizes.skeleton) return to_text(sizes);
    // Both texts have the same order of names; a size of 0 is in neither.
    std::string text;
    const std::string own_text = to_text(own), new_text = to_text(sizes);
    const auto before = split(own_text, ' '), after = split(new_text, ' ');
    const auto value_of = [](const std::vector<std::string_view>& fields, std::string_view name) {
        for (const std::string_view field : fields)
            if (field.substr(0, field.find('=')) == name) return std::string(field.substr(field.find('=') + 1));
        return std::string("none");
    };
    const auto add = [&](std::string_view name) {
        const std::string from = value_of(before, name), to = value_of(after, name);
        if (from == to || text.find(std::string(name) + " ") != std::string::npos) return;
        text += (text.empty() ? "" : ", ") + std::string(name) + " " + from + " -> " + to;
    };
    for (const auto& fields : {before, after})
        for (const std::string_view field : fields) add(field.substr(0, field.find('=')));
    return text;
}

}  // namespace vkattn::cli
