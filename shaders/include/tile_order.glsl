// In which order the tiles of a head's queries are begun: heavy ones first, so that those which begin last end soon.
//   list, indices   the host's order, where it made one (engine/src/tile_order.h)
//   interval        from the last to the first where the last query visits more keys than the first, as under causal masks
// Needs block_walk.glsl, tile_rows.glsl and the hook.
#ifndef VKATTN_TILE_ORDER_GLSL
#define VKATTN_TILE_ORDER_GLSL

int visited_keys(int b, int h, int q) {
    KeyRange range = mask_row_range(mask_row(b, h, q), b, h, q);
    return max(range.hi_any - range.lo_any, 0);
}

// The i-th tile of head h. With splits: i, as merge_splits knows no other order.
uint q_tile_of(uint i, int b, int h) {
    if (SPLITS > 1u) return i;
    if (SCHEDULE == SCHEDULE_LIST || SCHEDULE == SCHEDULE_INDICES) {
        if ((params.flags & PARAMS_TILE_ORDER) == 0u) return i;
        return min(tables_word(params.tile_order_words + i), params.q_tiles - 1u);      // bytes that somebody wrote
    }
    if (SCHEDULE == SCHEDULE_DENSE) return i;
    return visited_keys(b, h, 0) < visited_keys(b, h, params.q_len - 1) ? params.q_tiles - 1u - i : i;
}

TilePlace ordered_tile_place(uint flat_tile) {
    TilePlace tile = tile_place(flat_tile);
    tile.first_q = int(q_tile_of(uint(tile.first_q) / HEAD_ROWS, tile.b, tile.first_h) * HEAD_ROWS);
    return tile;
}

#endif
