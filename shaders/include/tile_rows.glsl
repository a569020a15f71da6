// Which rows a tile has. A flat tile is ((b * Hkv + kv_head) * head_tiles + head_tile) * q_tiles + q_tile; its rows are HEAD_ROWS
// queries of each of HEADS_PER_TILE heads, which share a key head. The last tile of a key head or of the queries may be short.
#ifndef VKATTN_TILE_ROWS_GLSL
#define VKATTN_TILE_ROWS_GLSL

const uint HEAD_ROWS = TILE_ROWS / HEADS_PER_TILE;

struct TilePlace {
    int b;
    int kv_head;
    int first_h;
    int first_q;
};

TilePlace tile_place(uint flat_tile) {
    uint head_tile = flat_tile / params.q_tiles;
    uint first_q = (flat_tile - head_tile * params.q_tiles) * HEAD_ROWS;
    uint head_tiles = (uint(params.group) + HEADS_PER_TILE - 1u) / HEADS_PER_TILE;      // of a key head
    uint flat_kv_head = head_tile / head_tiles;
    uint b = flat_kv_head / uint(params.kv_heads);
    uint kv_head = flat_kv_head - b * uint(params.kv_heads);
    uint first_h = kv_head * uint(params.group) + (head_tile - flat_kv_head * head_tiles) * HEADS_PER_TILE;
    return TilePlace(int(b), int(kv_head), int(first_h), int(first_q));
}

// Head and query of row 0 .. TILE_ROWS - 1 of a tile; rows that the tile lacks repeat its last ones. With one head to a tile the head
// is the same for all invocations, and compilers must see it: a list is found by its head, and keys by the list (ledger T1).
uint tile_row_head(uint row) { return HEADS_PER_TILE == 1u ? 0u : row / HEAD_ROWS; }
int tile_row_h(TilePlace tile, uint row) { return min(tile.first_h + int(tile_row_head(row)), (tile.kv_head + 1) * params.group - 1); }
int tile_row_q(TilePlace tile, uint row) { return min(tile.first_q + int(row % HEAD_ROWS), params.q_len - 1); }
bool tile_row_exists(TilePlace tile, uint row) {
    return tile.first_h + int(tile_row_head(row)) < (tile.kv_head + 1) * params.group && tile.first_q + int(row % HEAD_ROWS) < params.q_len;
}

#endif
