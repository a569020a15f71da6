// What a tuner tries from a choice on: one size changed, or another kernel with its own sizes. What the kernels' rules or the device
// rule out is left out by asking choose(), so that there is one place that knows them.
#include <algorithm>

#include "tuning.h"

namespace vkattn {
namespace {

class Neighbours {
  public:
    Neighbours(const Capabilities& capabilities, const Problem& problem, const EmittedHook& hook,
               const KernelSizes& from)
        : capabilities_(capabilities), problem_(problem), hook_(hook), from_(from) {
        problem_.sizes.reset();
    }

    std::vector<KernelSizes> find() {
        switch (from_.skeleton) {
        case Skeleton::rows: vary_rows(); break;
        case Skeleton::tiles: vary_tiles(); break;
        case Skeleton::decode: vary_decode(); break;
        case Skeleton::automatic: vary_matrix(); break;
        }
        if (from_.splits != 0) vary({&KernelSizes::splits}, {&KernelSizes::splits});
        KernelSizes other = from_;
        other.widen = !from_.widen;
        const bool wide_already = problem_.k_type == ElementType::f32 && problem_.v_type == ElementType::f32 &&
                                  problem_.k_aligned && problem_.v_aligned;
        if (from_.path == Path::scalar && from_.skeleton != Skeleton::decode && !wide_already) add(other);
        add_other_kernels();
        return std::move(found_);
    }

  private:
    using Size = uint32_t KernelSizes::*;

    void add(const KernelSizes& sizes) {
        if (from_.splits != 0 && sizes.splits == 0) return;  // plan()'s own, by another name
        if (sizes == from_ || std::find(found_.begin(), found_.end(), sizes) != found_.end()) return;
        if (sizes.skeleton == Skeleton::decode && sizes.heads_per_tile != 0 &&
            sizes.tile_rows / sizes.heads_per_tile > static_cast<uint32_t>(problem_.max_shape.q_len))
            return;  // rows that no query fills
        Problem problem = problem_;
        problem.sizes = sizes;
        if (choose(capabilities_, problem, hook_)) found_.push_back(sizes);
    }
    // All of `halved` by two, and all of `doubled` times two, which takes longer to compile.
    void vary(std::initializer_list<Size> doubled, std::initializer_list<Size> halved) {
        KernelSizes more = from_, less = from_;
        for (const Size size : doubled) more.*size *= 2;
        for (const Size size : halved) less.*size /= 2;
        add(less);
        add(more);
    }
    // `first` times two and `second` by two, and the other way round.
    void trade(Size first, Size second) {
        for (const auto& [more, less] : {std::pair(first, second), std::pair(second, first)}) {
            KernelSizes sizes = from_;
            sizes.*more *= 2;
            sizes.*less /= 2;
            add(sizes);
        }
    }
    void vary_step(Size size) {
        for (const uint32_t value : {from_.*size + 1, from_.*size - 1}) {
            KernelSizes sizes = from_;
            sizes.*size = value;
            add(sizes);
        }
    }
    void vary_subgroup() {
        if (capabilities_.min_subgroup_size == capabilities_.max_subgroup_size) return;
        KernelSizes sizes = from_;
        sizes.subgroup_size = 0;
        add(sizes);
        for (uint32_t size = capabilities_.min_subgroup_size; size != 0 && size <= capabilities_.max_subgroup_size;
             size *= 2) {
            sizes.subgroup_size = size;
            add(sizes);
        }
    }

    void vary_rows() {
        vary({&KernelSizes::step_keys}, {&KernelSizes::step_keys});
        vary_step(&KernelSizes::step_keys);
        vary({&KernelSizes::workgroup_size}, {&KernelSizes::workgroup_size});
        vary({&KernelSizes::heads_per_tile}, {&KernelSizes::heads_per_tile});
    }
    void vary_tiles() {
        for (const Size size : {&KernelSizes::micro_rows, &KernelSizes::micro_cols, &KernelSizes::workgroup_size,
                                &KernelSizes::threads_x, &KernelSizes::step_keys})
            vary({size}, {size});
        trade(&KernelSizes::threads_x, &KernelSizes::micro_cols);
        trade(&KernelSizes::micro_rows, &KernelSizes::micro_cols);
        vary_subgroup();
    }
    void vary_decode() {
        vary({&KernelSizes::tile_rows}, {&KernelSizes::tile_rows});
        vary({&KernelSizes::tile_rows, &KernelSizes::heads_per_tile},
             {&KernelSizes::tile_rows, &KernelSizes::heads_per_tile});
        vary({&KernelSizes::step_keys}, {&KernelSizes::step_keys});
        vary({&KernelSizes::threads_x}, {&KernelSizes::threads_x, &KernelSizes::step_keys});
        vary({&KernelSizes::workgroup_size}, {&KernelSizes::workgroup_size});
        vary({&KernelSizes::threads_x, &KernelSizes::step_keys, &KernelSizes::workgroup_size},
             {&KernelSizes::threads_x, &KernelSizes::step_keys, &KernelSizes::workgroup_size});
        vary_subgroup();
    }
    void vary_matrix() {
        if (from_.workgroup_matrices) return vary_workgroup_matrices();
        vary({&KernelSizes::step_keys}, {&KernelSizes::step_keys});
        vary({&KernelSizes::workgroup_size}, {&KernelSizes::workgroup_size});
        vary({&KernelSizes::tile_rows}, {&KernelSizes::tile_rows});
        vary({&KernelSizes::tile_rows, &KernelSizes::workgroup_size},
             {&KernelSizes::tile_rows, &KernelSizes::workgroup_size});
        for (const MatrixShape& shape : capabilities_.matrix_shapes) {
            if (shape.type != problem_.q_type) continue;
            KernelSizes sizes = from_;
            sizes.matrix_m = shape.m;
            sizes.matrix_n = shape.n;
            sizes.matrix_k = shape.k;
            sizes.tile_rows = std::max(from_.tile_rows, shape.m);
            add(sizes);
        }
        vary_subgroup();
    }

    void vary_workgroup_matrices() {
        vary({&KernelSizes::step_keys}, {&KernelSizes::step_keys});
        vary({&KernelSizes::tile_rows, &KernelSizes::matrix_m}, {&KernelSizes::tile_rows, &KernelSizes::matrix_m});
        vary({&KernelSizes::matrix_n, &KernelSizes::matrix_k}, {&KernelSizes::matrix_n, &KernelSizes::matrix_k});
        for (const WorkgroupMatrices& matrices : capabilities_.workgroup_matrices) {
            KernelSizes sizes = from_;
            sizes.workgroup_size = matrices.invocations;
            add(sizes);
        }
        vary_subgroup();
    }

    // With what plan() takes for them. On software devices matrices and, by address, tiles are many times slower (ledger T1, T6), on
    // GPUs rows are, since they spill (T2): these are tried only where they are asked for.
    void add_other_kernels() {
        const bool software = capabilities_.software;
        const bool few_rows =
            int64_t{problem_.max_shape.q_len} * problem_.max_shape.q_heads <= int64_t{64} * problem_.max_shape.kv_heads;
        Problem problem = problem_;
        problem.path = Path::scalar;
        for (const Skeleton skeleton : {Skeleton::rows, Skeleton::tiles, Skeleton::decode}) {
            const bool by_address = from_addressing() == Addressing::address;
            if (skeleton == Skeleton::rows && !software) continue;
            if (skeleton == Skeleton::tiles && software && by_address) continue;
            if (skeleton == Skeleton::decode && (!few_rows || (software && !by_address))) continue;
            problem.skeleton = skeleton;
            add_own(problem);
        }
        problem.skeleton = Skeleton::automatic;
        for (const Path path : {Path::khr, Path::nv}) {
            problem.path = path;
            if (!software) add_own(problem);
        }
        if (software || !capabilities_.features.workgroup_matrices) return;
        Capabilities by_subgroups = capabilities_;  // plan() takes matrices of workgroups where it can
        by_subgroups.features.workgroup_matrices = false;
        if (const auto choice = choose(by_subgroups, problem, hook_)) add(sizes_of(*choice, choice->key));
    }
    Addressing from_addressing() const {
        const auto choice = choose(capabilities_, problem_, hook_);
        return choice ? choice->addressing : Addressing::binding;
    }
    void add_own(const Problem& problem) {
        if (const auto choice = choose(capabilities_, problem, hook_)) add(sizes_of(*choice, choice->key));
    }

    const Capabilities& capabilities_;
    Problem problem_;
    const EmittedHook& hook_;
    const KernelSizes from_;
    std::vector<KernelSizes> found_;
};

}  // namespace

std::vector<KernelSizes> neighbours_of(const Capabilities& capabilities, const Problem& problem,
                                       const EmittedHook& hook, const KernelSizes& from) {
    return Neighbours(capabilities, problem, hook, from).find();
}

}  // namespace vkattn
