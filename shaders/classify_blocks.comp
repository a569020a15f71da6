#version 450
#extension GL_GOOGLE_include_directive : require
// classify_blocks: the kind of every block of the q x kv plane, exactly. First pass of the block lists that the device makes.
//
//   a workgroup looks at one block, an invocation at rows of it: does a pair attend, do all?
//   mask_row_range decides most rows without looking at pairs
//
// mask, tables -> BLOCK_EMPTY, BLOCK_PARTIAL or BLOCK_FULL in the block's own place of the list of partial blocks; compact_blocks.comp
// makes lists of the places. A ragged block is full when all of its pairs that exist attend.
// Grid: x = (plane * list_rows + row) * list_columns + column, from push.tile_base on. Shared memory: 8 bytes.
#define WRITES_TABLES
#include "arguments.glsl"
struct KeyRange { int lo_any, hi_any, lo_all, hi_all; };
#include "mask_hook.glsl"
#include "block_places.glsl"

shared uint block_any, block_all;

void main() {
    if (gl_LocalInvocationIndex == 0u) {
        block_any = 0u;
        block_all = 1u;
    }
    barrier();      // the verdict is open

    uint place = gl_WorkGroupID.x + push.tile_base;
    uint list_row = place / params.list_columns;
    uint plane = list_row / params.list_rows;
    int b = int(plane_batch(plane)), h = int(plane_head(plane));
    int first_q = int((list_row - plane * params.list_rows) * params.list_block_q);
    int end_q = first_q + int(min(params.list_block_q, uint(params.q_len - first_q)));
    int first_kv = int((place - list_row * params.list_columns) * params.list_block_kv);
    int end_kv = first_kv + int(min(params.list_block_kv, uint(params.kv_len - first_kv)));

    bool any = false, all = true;
    for (int q = first_q + int(gl_LocalInvocationIndex); q < end_q; q += int(WORKGROUP_SIZE)) {
        MaskRow row = mask_row(b, h, q);
        KeyRange range = mask_row_range(row, b, h, q);
        bool whole = range.lo_all <= first_kv && range.hi_all >= end_kv;
        int begin = max(first_kv, range.lo_any), end = min(end_kv, range.hi_any);
        any = any || whole;
        all = all && (whole || (begin == first_kv && end == end_kv));
        if (whole) continue;
        for (int kv = begin; kv < end; kv++) {
            bool attends = mask_pair(row, mask_col(b, h, kv), b, h, q, kv);
            any = any || attends;
            all = all && attends;
        }
    }
    if (any) atomicOr(block_any, 1u);
    if (!all) atomicAnd(block_all, 0u);
    barrier();      // all rows are in
    if (gl_LocalInvocationIndex == 0u)
        tables_store(params.list_runs_words + place, block_any == 0u ? BLOCK_EMPTY : block_all == 0u ? BLOCK_PARTIAL : BLOCK_FULL);
}
