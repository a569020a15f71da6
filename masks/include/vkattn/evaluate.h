// What a mask means: evaluation of one pair on the CPU. This is the semantics that the emitted GLSL is held against.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "vkattn/bindings.h"
#include "vkattn/mask.h"

namespace vkattn {

// A tree bound to its values, ready to be asked many times. Copies share tables. Not thread-safe: one per thread (it
// has scratch).
class Evaluator {
  public:
    static Result<Evaluator> make(const Mask& mask, const Shape& shape, const Bindings& bindings = {});
    static Result<Evaluator> make(const ScoreMod& score_mod, const Shape& shape, const Bindings& bindings = {});
    static Result<Evaluator> make(std::shared_ptr<const Tree> tree, const Shape& shape,
                                  const ResolvedBindings& bindings);

    // Indices are inside the shape (not checked; tables clamp in any case). mask() is for trees that end in a bool.
    bool mask(int32_t b, int32_t h, int32_t q, int32_t kv);
    float score(float score, int32_t b, int32_t h, int32_t q, int32_t kv);
    // The bits of one node of the tape, after mask() or score(): what --explain shows.
    uint32_t node_bits(int32_t node) const { return values_[static_cast<size_t>(node)]; }

  private:
    // One node that depends on b, h, q, kv or score; the others are computed once, by make.
    struct Step {
        Op op;
        Type operand_type;
        uint8_t n_args;
        uint32_t payload;
        uint32_t args[4];  // unused ones are 0
        uint32_t result;
    };
    struct TableView {
        const TableData* data;  // owned by bindings_
        int32_t dims[4];
    };

    void run(float score, int32_t b, int32_t h, int32_t q, int32_t kv);
    uint32_t lookup(const Step& step) const;
    void execute(const Step& step);

    std::shared_ptr<const Tree> tree_;
    ResolvedBindings bindings_;
    std::vector<TableView> tables_;
    std::vector<Step> steps_;
    std::vector<uint32_t> values_;    // per node of the tape
    uint32_t leaf_position_[5] = {};  // of b, h, q, kv, score in values_; absent ones share a spare place at its end
};

// One operator on bits, shared by evaluation and constant folding. Leaves and tables are the caller's.
// `operand_type` is the type of the operands (of the two values in select).
uint32_t apply_op(Op op, Type operand_type, const uint32_t* args);

}  // namespace vkattn
