#include "examples.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>

#include "vkattn/sources/pytorch.h"

namespace flex_notebook {
namespace {

using namespace vkattn;

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

// The sequence of each position: what build_seq_idx answers for such offsets always.
std::shared_ptr<const TableData> sequence_ids(const std::vector<int32_t>& offsets) {
    return std::make_shared<const TableData>(*pytorch::build_seq_idx(offsets));
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
    instance.values.tables["document_id"] = sequence_ids(sequence_offsets(length));
    return instance;
}

Instance jagged(int32_t length) {
    Instance instance = square(length);
    const std::vector<int32_t> offsets = sequence_offsets(length);
    instance.values.tables["offsets"] = ints(offsets);
    instance.values.tables["seq_idx"] = sequence_ids(offsets);
    instance.values.scalars["prefix_length"] = std::max(1, length / 32);
    return instance;
}

// Text with pictures in it: a text token sees the patches of the last picture before it. Half as many patches as text
// tokens, four pictures, the first after some text that has none to look at.
Instance pictures_in_text(int32_t length) {
    constexpr int32_t n_pictures = 4;
    const int32_t patches = std::max(1, length / 2 / n_pictures);
    Instance instance{length, n_pictures * patches, {}};
    std::vector<int32_t> image;
    auto intervals = std::make_shared<TableData>();
    intervals->dims = {n_pictures, 2};
    for (int32_t i = 0; i < n_pictures; ++i) {
        image.insert(image.end(), static_cast<size_t>(patches), i);
        const auto begin_of = [&](int64_t picture) { return static_cast<int32_t>(length * (2 * picture + 1) / 9); };
        intervals->i32.push_back(begin_of(i));
        intervals->i32.push_back(i + 1 < n_pictures ? begin_of(i + 1) : length);
    }
    instance.values.tables["image"] = ints(std::move(image));
    instance.values.tables["intervals"] = std::move(intervals);
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
    using namespace vkattn::pytorch;
    std::vector<Example> examples;
    const auto plain = [](int32_t length, int32_t) { return square(length); };
    const Shown<Mask> everything = SHOWN(noop_mask()), backwards = SHOWN(causal_mask());
    const Shown<ScoreMod> unchanged = SHOWN(ScoreMod());
    const auto add_mask = [&](const char* title, const char* meaning, Shown<Mask> mask, const char* text,
                              std::function<Instance(int32_t, int32_t)> instance) {
        examples.push_back({title, meaning, std::move(mask), text, unchanged, "score", {}, std::move(instance)});
    };
    const auto add_score_mod = [&](const char* title, const char* meaning, const Shown<Mask>& mask,
                                   const char* mask_text, Shown<ScoreMod> score_mod, const char* text,
                                   std::function<Instance(int32_t, int32_t)> instance) {
        examples.push_back({title, meaning, mask, mask_text, std::move(score_mod), text, {}, std::move(instance)});
    };

    add_mask("No mask", "Plain attention: every query attends to every key.", everything, "true", plain);
    add_score_mod("Checkerboard",
                  "A score mod changes scores by position: half the score at odd distances, twice at even ones.",
                  everything, "true", SHOWN(checkerboard()), "abs(kv - q) % 2 == 1 ? score * 0.5 : score * 2.0", plain);
    add_score_mod("Causal, as a score mod",
                  "A score of -inf has no weight, so the numbers are right. But no block list can know: every pair is "
                  "computed.",
                  everything, "true", SHOWN(causal_bias()), "q >= kv ? score : -inf", plain);
    examples.back().weighted = backwards.value;
    add_mask("Causal, as a mask", "The same pairs as a mask: what lies above the diagonal is never visited.", backwards,
             "causal()", plain);
    add_mask("Sliding window, causal", "A query attends to itself and the window before it.",
             SHOWN(sliding_window_causal_mask(param("window"))), "sliding_window(window)",
             [](int32_t length, int32_t) { return with_scalar(length, "window", std::max(1, length / 8)); });
    add_mask(
        "Prefix LM",
        "The first keys are seen by all, later ones only backwards. The notebook's prefix has one key more than its "
        "length.",
        SHOWN(prefix_lm_causal_mask(param("prefix_length"))), "prefix(prefix_length + 1)",
        [](int32_t length, int32_t) { return with_scalar(length, "prefix_length", std::max(1, length / 4)); });
    add_mask("Documents, causal", "Several texts packed into one sequence, each causal and by itself.",
             SHOWN(document_causal_mask(table("document_id"))), "causal() && document(document_id)",
             [](int32_t length, int32_t) { return documents(length); });
    add_mask("Stand-alone self-attention",
             "Pixels of a picture in reading order; a pixel attends to those at most `window` away on both axes.",
             SHOWN(sasa_mask(param("canvas_w"), param("window"))), "stand_alone_self_attention(canvas_w, window)",
             [](int32_t length, int32_t) {
                 Instance instance = canvas(length);
                 const int32_t width = std::get<int32_t>(instance.values.scalars["canvas_w"]);
                 instance.values.scalars["window"] = std::max(1, width / 8);
                 return instance;
             });
    add_mask(
        "NATTEN",
        "Neighbourhood attention: as before, but the window is shifted inward at the borders, so that every pixel has "
        "kernel x kernel neighbours.",
        SHOWN(natten_mask(param("canvas_w"), param("canvas_h"), param("kernel"), param("kernel"))),
        "natten(canvas_w, canvas_h, kernel, kernel)", [](int32_t length, int32_t) { return neighbourhood(length); });
    add_score_mod(
        "ALiBi, slopes from a table",
        "A bias that falls with distance, with a slope per head. The notebook's closure over a tensor is a table.",
        backwards, "causal()", SHOWN(alibi_and_causal_closure(table("slopes"))), "alibi(slopes)", slopes);
    add_score_mod("ALiBi by formula", "The usual slopes are a formula of the head; no table is read.", backwards,
                  "causal()", SHOWN(alibi_and_causal_functional()), "alibi()", plain);
    add_score_mod("Tanh soft-capping, causal", "Scores are bent so that none exceeds the cap.", backwards, "causal()",
                  SHOWN(tanh_soft_cap(param("cap"))), "softcap(cap)",
                  [](int32_t length, int32_t) { return with_scalar(length, "cap", 2.0f); });
    add_mask(
        "Nested jagged sequences",
        "Sequences of unequal lengths in one buffer, by their offsets. The inner mask sees positions within its "
        "sequence: a prefix LM in each.",
        SHOWN(create_njt_wrapper(prefix_lm_causal_mask(param("prefix_length")), table("offsets"), table("seq_idx"))),
        "(kv - offsets[seq_idx[kv]] < prefix_length + 1 || kv - offsets[seq_idx[kv]] <= q - offsets[seq_idx[q]]) && "
        "seq_idx[q] == seq_idx[kv]",
        [](int32_t length, int32_t) { return jagged(length); });
    add_mask(
        "Flamingo cross-attention",
        "Text tokens attend to the patches of the last picture before them; tokens before the first picture attend to "
        "nothing, and their output is 0.",
        SHOWN(vision_x_attention_mask(table("image"), table("intervals"))),
        "q >= intervals[image[kv], 0] && q < intervals[image[kv], 1]",
        [](int32_t length, int32_t) { return pictures_in_text(length); });
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
