// What a mask means: evaluation of one pair on the CPU. This is the semantics that the emitted GLSL is held against.
#pragma once

#include <memory>

#include "vkattn/bindings.h"
#include "vkattn/mask.h"

namespace vkattn {

// A tree bound to its values, ready to be asked many times. Copies share tables. Not thread-safe: one per thread (it has scratch).
class Evaluator {
  public:
    static Result<Evaluator> make(const Mask& mask, const Shape& shape, const Bindings& bindings = {});
    static Result<Evaluator> make(const ScoreMod& score_mod, const Shape& shape, const Bindings& bindings = {});
    static Result<Evaluator> make(std::shared_ptr<const Tree> tree, const Shape& shape, const ResolvedBindings& bindings);

    bool mask(int32_t b, int32_t h, int32_t q, int32_t kv);
    float score(float score, int32_t b, int32_t h, int32_t q, int32_t kv);
    // The bits of one node of the tape, after mask() or score(): what --explain shows.
    uint32_t node_bits(int32_t node) const;

  private:
    void run(float score, int32_t b, int32_t h, int32_t q, int32_t kv);

    std::shared_ptr<const Tree> tree_;
    Shape shape_;
    ResolvedBindings bindings_;
    std::vector<uint32_t> values_;
};

// One operator on bits, shared by evaluation and constant folding. Leaves and tables are the caller's.
uint32_t apply_op(Op op, Type operand_type, const uint32_t* args);

}  // namespace vkattn
