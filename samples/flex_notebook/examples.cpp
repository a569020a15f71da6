#include "examples.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <memory>

#include "vkattn/named.h"

namespace flex_notebook {
namespace {

using namespace vkattn;

constexpr float infinity = std::numeric_limits<float>::infinity();

// An expression and its own text.
#define SHOWN(...) \
    { __VA_ARGS__, #__VA_ARGS__ }

std::shared_ptr<const TableData> ints(std::vector<int32_t> values) {
    auto data = std::make_shared<TableData>();
    data->dims = {static_cast<int64_t>(values.size())};
    data->i32 = std::move(values);
    return data;
}

// Where packed sequences begin, then the length: sequences of unequal lengths, about twelve in all as in the notebook.
std::vector<int32_t> sequence_offsets(int32_t length) {
    constexpr int32_t shares[] = {13, 5, 21, 2, 9, 17, 3, 11, 1, 7, 19, 4};  // of 112
    std::vector<int32_t> offsets = {0};
    int64_t share = 0;
    for (const int32_t part : shares) {
        share += part;
        const auto end = static_cast<int32_t>(length * share / 112);
        if (end > offsets.back()) offsets.push_back(end);
    }
    return offsets;
}

// The sequence that each position belongs to.
std::vector<int32_t> sequence_ids(const std::vector<int32_t>& offsets) {
    std::vector<int32_t> ids;
    for (size_t i = 0; i + 1 < offsets.size(); ++i)
        ids.resize(static_cast<size_t>(offsets[i + 1]), static_cast<int32_t>(i));
    return ids;
}

Instance square(int32_t length) { return {length, length, {}}; }

Instance with_scalar(int32_t length, const char* name, Scalar value) {
    Instance instance = square(length);
    instance.values.scalars[name] = value;
    return instance;
}

// Pixels in reading order: the largest square canvas, one row more where that still fits.
Instance canvas(int32_t length) {
    const auto width = std::max(1, static_cast<int32_t>(std::sqrt(static_cast<double>(length))));
    const int32_t height = std::max(1, length / width);
    Instance instance = square(width * height);
    instance.values.scalars["canvas_w"] = width;
    return instance;
}

Instance neighbourhood(int32_t length) {
    Instance instance = canvas(length);
    const int32_t width = std::get<int32_t>(instance.values.scalars["canvas_w"]);
    instance.values.scalars["canvas_h"] = instance.q_len / width;
    instance.values.scalars["kernel"] = width / 4 / 2 * 2 + 1;
    return instance;
}

Instance documents(int32_t length) {
    Instance instance = square(length);
    instance.values.tables["doc"] = ints(sequence_ids(sequence_offsets(length)));
    return instance;
}

Instance jagged(int32_t length) {
    Instance instance = square(length);
    const std::vector<int32_t> offsets = sequence_offsets(length);
    instance.values.tables["offsets"] = ints(offsets);
    instance.values.tables["seq"] = ints(sequence_ids(offsets));
    instance.values.scalars["prefix_length"] = std::max(1, length / 32);
    return instance;
}

// Text with pictures in it: a text token attends to the patches of the last picture before it. Half as many patches as
// text tokens, four pictures, the first after some text that has none to look at.
Instance pictures_in_text(int32_t length) {
    constexpr int32_t n_pictures = 4;
    const int32_t patches = std::max(1, length / 2 / n_pictures);
    Instance instance{length, n_pictures * patches, {}};
    std::vector<int32_t> begin, end;
    for (int32_t q = 0; q < length; ++q) {
        const auto seen = static_cast<int32_t>((int64_t{q} * 9 / length + 1) / 2);  // 0 to 4 pictures before this token
        begin.push_back(std::max(0, seen - 1) * patches);
        end.push_back(seen * patches);
    }
    instance.values.tables["begin"] = ints(std::move(begin));
    instance.values.tables["end"] = ints(std::move(end));
    return instance;
}

Instance slopes(int32_t length, int32_t heads) {
    Instance instance = square(length);
    auto data = std::make_shared<TableData>();
    data->type = Type::f32;
    data->dims = {heads};
    for (int32_t h = 0; h < heads; ++h)
        data->f32.push_back(std::exp2(-8.0f * static_cast<float>(h + 1) / static_cast<float>(heads)));
    instance.values.tables["slopes"] = std::move(data);
    return instance;
}

const char* type_name(Type type) { return type == Type::boolean ? "bool" : type == Type::i32 ? "i32" : "f32"; }

}  // namespace

std::vector<Example> notebook_examples() {
    std::vector<Example> examples;
    const auto plain = [](int32_t length, int32_t) { return square(length); };
    const std::string every_pair = "full()", same_score = "score";
    const Shown<Mask> everything = SHOWN(full());
    const Shown<ScoreMod> unchanged = SHOWN(ScoreMod());

    examples.push_back({"No mask",
                        "Plain attention: every query attends to every key.",
                        everything,
                        every_pair,
                        unchanged,
                        same_score,
                        {},
                        plain});
    examples.push_back({"Checkerboard",
                        "A score mod changes scores by position: here pairs at an odd distance count half.",
                        everything,
                        every_pair,
                        SHOWN(trace_score_mod([](Expr score, Index, Index, Index q, Index kv) {
                            return score * select((q - kv) % 2 == 0, 1.0f, 0.5f);
                        })),
                        "score * ((q - kv) % 2 == 0 ? 1.0 : 0.5)",
                        {},
                        plain});
    examples.push_back(
        {"Causal, as a score mod",
         "A score of -inf has no weight, so the numbers are right. But no block list can know: every pair is "
         "computed.",
         everything, every_pair, SHOWN(trace_score_mod([](Expr score, Index, Index, Index q, Index kv) {
             return select(kv <= q, score, -infinity);
         })),
         "kv <= q ? score : -inf", causal(), plain});
    examples.push_back({"Causal, as a mask",
                        "The same pairs as a mask: what lies above the diagonal is never visited.",
                        SHOWN(causal()),
                        "causal()",
                        unchanged,
                        same_score,
                        {},
                        plain});
    examples.push_back(
        {"Sliding window, causal",
         "A query attends to itself and the window before it.",
         SHOWN(causal() && sliding_window(param("window"))),
         "causal() && sliding_window(window)",
         unchanged,
         same_score,
         {},
         [](int32_t length, int32_t) { return with_scalar(length, "window", std::max(1, length / 8)); }});
    examples.push_back(
        {"Prefix LM",
         "The first keys are seen by all, later ones only backwards.",
         SHOWN(prefix(param("prefix_length"))),
         "prefix(prefix_length)",
         unchanged,
         same_score,
         {},
         [](int32_t length, int32_t) { return with_scalar(length, "prefix_length", std::max(1, length / 4)); }});
    examples.push_back({"Documents, causal",
                        "Several texts packed into one sequence, each causal and by itself.",
                        SHOWN(causal() && document(table("doc"))),
                        "causal() && document(doc)",
                        unchanged,
                        same_score,
                        {},
                        [](int32_t length, int32_t) { return documents(length); }});
    examples.push_back(
        {"Stand-alone self-attention",
         "Pixels of a picture in reading order; a pixel attends to those at most `reach` away on both axes.",
         SHOWN(stand_alone_self_attention(param("canvas_w"), param("reach"))),
         "stand_alone_self_attention(canvas_w, reach)",
         unchanged,
         same_score,
         {},
         [](int32_t length, int32_t) {
             Instance instance = canvas(length);
             instance.values.scalars["reach"] = std::max(1, std::get<int32_t>(instance.values.scalars["canvas_w"]) / 8);
             return instance;
         }});
    examples.push_back({"NATTEN",
                        "Neighbourhood attention: as before, but the window is shifted inward at the borders, so that "
                        "every pixel has kernel x kernel neighbours.",
                        SHOWN(natten(param("canvas_w"), param("canvas_h"), param("kernel"), param("kernel"))),
                        "natten(canvas_w, canvas_h, kernel, kernel)",
                        unchanged,
                        same_score,
                        {},
                        [](int32_t length, int32_t) { return neighbourhood(length); }});
    examples.push_back(
        {"ALiBi, slopes from a table",
         "A bias that falls with distance, with a slope per head. The notebook's closure over a tensor is a "
         "table here.",
         everything,
         every_pair,
         SHOWN(alibi(table("slopes"))),
         "alibi(slopes)",
         {},
         slopes});
    examples.push_back({"ALiBi by formula, causal",
                        "The usual slopes are a formula of the head; no table is read.",
                        SHOWN(causal()),
                        "causal()",
                        SHOWN(alibi()),
                        "alibi()",
                        {},
                        plain});
    examples.push_back({"Tanh soft-capping, causal",
                        "Scores are bent so that none exceeds the cap.",
                        SHOWN(causal()),
                        "causal()",
                        SHOWN(softcap(param("cap"))),
                        "softcap(cap)",
                        {},
                        [](int32_t length, int32_t) { return with_scalar(length, "cap", 20.0f); }});
    examples.push_back(
        {"Nested jagged sequences",
         "Sequences of unequal lengths in one buffer, by their offsets. The inner mask sees positions within its "
         "sequence: "
         "a prefix LM in each.",
         SHOWN(trace_mask([](Index b, Index h, Index q, Index kv) {
             const TableExpr seq = table("seq"), offsets = table("offsets");
             return seq(q) == seq(kv) &&
                    embed(prefix(param("prefix_length")), b, h, q - offsets(seq(q)), kv - offsets(seq(kv)));
         })),
         "seq[q] == seq[kv] && (kv - offsets[seq[kv]] < prefix_length || kv - offsets[seq[kv]] <= q - offsets[seq[q]])",
         unchanged,
         same_score,
         {},
         [](int32_t length, int32_t) { return jagged(length); }});
    examples.push_back(
        {"Flamingo cross-attention",
         "Text tokens attend to the patches of the last picture before them; tokens before the first picture "
         "attend to nothing, and their output is 0.",
         SHOWN(cross_attention_intervals(table("begin"), table("end"))),
         "cross_attention_intervals(begin, end)",
         unchanged,
         same_score,
         {},
         [](int32_t length, int32_t) { return pictures_in_text(length); }});
    return examples;
}

std::string values_text(const vkattn::Bindings& values) {
    std::string text;
    const auto add = [&](const std::string& item) { text += (text.empty() ? "" : ", ") + item; };
    for (const auto& [name, value] : values.scalars) {
        if (const int32_t* whole = std::get_if<int32_t>(&value)) {
            add(name + " = " + std::to_string(*whole));
        } else {
            char number[32];
            std::snprintf(number, sizeof number, "%g", static_cast<double>(std::get<float>(value)));
            add(name + " = " + number);
        }
    }
    for (const auto& [name, data] : values.tables) {
        std::string dims;
        for (const int64_t dim : data->dims) dims += (dims.empty() ? "" : ", ") + std::to_string(dim);
        add(name + " " + type_name(data->type) + " [" + dims + "]");
    }
    return text;
}

}  // namespace flex_notebook
