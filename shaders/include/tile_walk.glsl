// The keys of a tile of rows of one head, found by a whole workgroup: block_walk.glsl's iterator for kernels whose invocations
// share a tile. Needs block_walk.glsl and the hook.
#ifndef VKATTN_TILE_WALK_GLSL
#define VKATTN_TILE_WALK_GLSL

shared int tile_range[4];

// Rows [first_q, first_q + rows) of head h; `tid` numbers the invocations. Contains barriers with the interval schedule.
BlockWalk walk_tile(int b, int h, int first_q, uint rows, int step_keys, uint tid) {
    if (SCHEDULE == SCHEDULE_LIST || SCHEDULE == SCHEDULE_INDICES) return walk_list(uint(b), uint(h), uint(first_q));
    if (SCHEDULE == SCHEDULE_DENSE) return walk_dense();
    KeyRange none = key_range_none();
    if (tid == 0u) {
        tile_range[0] = none.lo_any;
        tile_range[1] = none.hi_any;
        tile_range[2] = none.lo_all;
        tile_range[3] = none.hi_all;
    }
    barrier();      // the range is empty
    [[dont_unroll]] for (uint i = tid; i < rows; i += WORKGROUP_SIZE) {
        int q = min(first_q + int(i), params.q_len - 1);
        KeyRange row = key_range_of_row(mask_row_range(mask_row(b, h, q), b, h, q));
        atomicMin(tile_range[0], row.lo_any);
        atomicMax(tile_range[1], row.hi_any);
        atomicMax(tile_range[2], row.lo_all);
        atomicMin(tile_range[3], row.hi_all);
    }
    barrier();      // all rows have joined
    return walk_interval(KeyRange(tile_range[0], tile_range[1], tile_range[2], tile_range[3]), step_keys);
}

#endif
