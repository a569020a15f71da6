#version 450
#extension GL_GOOGLE_include_directive : require
// merge_splits: o and lse of rows whose keys were shared out between splits.
//
//   an invocation has four elements of a row: it brings the splits' accumulators to their largest row_max and sums them up, in
//   ascending order, and divides by the sum of what was weighed
//
// partials [B, Hq, Lq, SPLITS] (partials.glsl) -> o [B, Hq, Lq, Dv], lse [B, Hq, Lq].
// Grid: items from push.tile_base to push.item_end, (flat tile * TILE_ROWS + row) * VALUE_GROUPS + group, one each.
// Shared memory: none.
#include "arguments.glsl"
#define EXP2_FACTOR (NATURAL_SCORES != 0u ? LOG2_E : 1.0)
#include "online_softmax.glsl"
#include "output_store.glsl"
#include "tile_rows.glsl"
#include "partials.glsl"

const uint VALUE_GROUPS = (VALUE_DIM + 3u) / 4u;

void main() {
    // Nobody leaves early: where no invocation of a subgroup is left, lavapipe still runs its loops, and reads descriptors that are not
    // there. Past the end the last item is made again and not stored.
    uint wanted = push.tile_base + gl_GlobalInvocationID.x;
    uint item = min(wanted, push.item_end - 1u);
    uint tile_row = item / VALUE_GROUPS;
    uint group = item - tile_row * VALUE_GROUPS;
    TilePlace tile = tile_place(tile_row / TILE_ROWS);
    uint row = tile_row % TILE_ROWS;
    int h = tile_row_h(tile, row);
    int q = tile_row_q(tile, row);

    SoftmaxState state = softmax_init();
    bool poisoned = false;
    [[dont_unroll]] for (uint split = 0u; split < SPLITS; split++) {
        RowPlace place = partial_place(tile.b, h, q, split);
        float row_sum = PARTIAL(place, PARTIAL_STATE + 1u);
        float row_max = PARTIAL(place, PARTIAL_STATE);
        poisoned = poisoned || !is_finite(row_sum);
        state.row_max = row_sum > 0.0 ? max(state.row_max, row_max) : state.row_max;
    }
    vec4 acc = vec4(0.0);
    [[dont_unroll]] for (uint split = 0u; split < SPLITS; split++) {
        RowPlace place = partial_place(tile.b, h, q, split);
        float row_sum = PARTIAL(place, PARTIAL_STATE + 1u);
        float factor = softmax_weight(state, PARTIAL(place, PARTIAL_STATE));
        vec4 part = partial_group(place, group);
        bool attends = row_sum > 0.0;
        state.row_sum += attends ? factor * row_sum : 0.0;
        // Never 0 times infinity: what attends to an infinite value is infinite.
        factor = is_finite(part) ? factor : max(factor, 1e-37);
        acc += mix(vec4(0.0), factor * part, bvec4(attends));
    }
    if (wanted >= push.item_end || !tile_row_exists(tile, row)) return;
    float inverse = softmax_inverse(state);
    o_store(row_add(o_head(uint(tile.b), uint(h)), o_step(uint(q))), group, poisoned ? vec4(not_a_number()) : acc * inverse);
    if (group == 0u) lse_store(uint(tile.b), uint(h), uint(q), poisoned ? not_a_number() : softmax_lse(state));
}
