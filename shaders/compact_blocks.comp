#version 450
#extension GL_GOOGLE_include_directive : require
// compact_blocks: from the kinds of a row's blocks to its two lists. Second pass of the block lists that the device makes.
//
//   an invocation goes through one row of blocks in ascending order; the list of partial blocks grows into the places already read
//
// kinds in the places of partial blocks (classify_blocks.comp) -> counts and columns of partial and of full blocks.
// Grid: x = plane * list_rows + row, from push.tile_base on. Shared memory: none.
#define WRITES_TABLES
#include "arguments.glsl"
#include "block_places.glsl"

void main() {
    uint row = push.tile_base + gl_GlobalInvocationID.x;
    if (row >= params.list_planes * params.list_rows) return;
    uint partial_word = params.list_runs_words + row * params.list_columns;
    uint full_word = params.list_full_indices_words + row * params.list_columns;
    uint n_partial = 0u, n_full = 0u;
    for (uint column = 0u; column < params.list_columns; column++) {
        uint kind = tables_word(partial_word + column);
        if (kind == BLOCK_PARTIAL) tables_store(partial_word + n_partial++, column);
        if (kind == BLOCK_FULL) tables_store(full_word + n_full++, column);
    }
    tables_store(params.list_offsets_words + row, n_partial);
    tables_store(params.list_full_counts_words + row, n_full);
}
