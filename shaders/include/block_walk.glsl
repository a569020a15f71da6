// Which keys a tile of query rows visits, as runs of neighbouring keys. One iterator over three schedules:
//   dense      one run, all keys
//   interval   from mask_row_range, combined over the tile's rows: tested keys, keys that need no test, tested keys
//   list       the block row's runs in the tables buffer (params.list_*), RUNS encoding
// Lists are bytes that somebody wrote: counts, blocks and rows are clamped, so that no run leaves [0, kv_len) and the number of runs
// is at most the number of key blocks. Another encoding is one more branch in walk_start and walk_run.
#ifndef VKATTN_BLOCK_WALK_GLSL
#define VKATTN_BLOCK_WALK_GLSL

const uint SCHEDULE_DENSE = 0u;
const uint SCHEDULE_INTERVAL = 1u;
const uint SCHEDULE_LIST = 2u;

// Keys [begin, end), 0 <= begin, end <= kv_len. full: every pair attends, mask_pair is not asked.
struct KeyRun {
    int begin;
    int end;
    bool full;
};

struct BlockWalk {
    uint runs;                  // walk_run(walk, 0 .. runs - 1)
    uint list_word;             // tables word of the first run
    KeyRange range;
};

// Combining rows: `any` grows to the hull, `all` shrinks to what the rows have in common.
KeyRange key_range_none() { return KeyRange(0x7fffffff, 0, 0, 0x7fffffff); }
KeyRange key_range_of_row(KeyRange row) {
    bool none = row.hi_any <= row.lo_any;
    return KeyRange(none ? 0x7fffffff : row.lo_any, none ? 0 : row.hi_any, row.lo_all, row.hi_all);
}
KeyRange key_range_join(KeyRange a, KeyRange b) {
    return KeyRange(min(a.lo_any, b.lo_any), max(a.hi_any, b.hi_any), max(a.lo_all, b.lo_all), min(a.hi_all, b.hi_all));
}

BlockWalk walk_dense() { return BlockWalk(1u, 0u, KeyRange(0, 0, 0, 0)); }

// `joined` is the join over all rows of the tile. Runs are cut at whole steps from the first key, so that only the last step is
// ragged: what a full run loses is tested.
BlockWalk walk_interval(KeyRange joined, int step_keys) {
    int lo = clamp(joined.lo_any, 0, params.kv_len);
    int hi = clamp(joined.hi_any, lo, params.kv_len);
    int before = clamp(joined.lo_all, lo, hi) - lo;
    int until = clamp(joined.hi_all, lo, hi) - lo;
    int lo_all = min((before + step_keys - 1) / step_keys * step_keys, hi - lo);
    int hi_all = max(until / step_keys * step_keys, lo_all);
    return BlockWalk(3u, 0u, KeyRange(lo, hi, lo + lo_all, lo + hi_all));
}

uint key_blocks() { return (uint(params.kv_len) + params.list_block_kv - 1u) / max(params.list_block_kv, 1u); }

BlockWalk walk_list(uint b, uint h, uint first_q) {
    uint block_row = min(first_q / max(params.list_block_q, 1u), max(params.list_rows, 1u) - 1u);
    uint offset_word = params.list_offsets_words + b * params.list_stride_b + h * params.list_stride_h + block_row;
    uint first = min(tables_word(offset_word), params.list_runs);
    uint last = min(tables_word(offset_word + 1u), params.list_runs);
    return BlockWalk(min(max(last, first) - first, key_blocks()), params.list_runs_words + 2u * first, KeyRange(0, 0, 0, 0));
}

KeyRun walk_run(BlockWalk walk, uint i) {
    if (SCHEDULE == SCHEDULE_LIST) {
        uint blocks = key_blocks();
        uint first_and_kind = tables_word(walk.list_word + 2u * i);
        uint first = min(first_and_kind & 0x7fffffffu, blocks);
        uint end = first + min(tables_word(walk.list_word + 2u * i + 1u), blocks - first);
        bool full = (first_and_kind >> 31) != 0u && (params.flags & PARAMS_LIST_ALL_PARTIAL) == 0u;
        uint length = uint(params.kv_len);
        return KeyRun(int(min(first * params.list_block_kv, length)), int(min(end * params.list_block_kv, length)),
                      full || HAS_MASK_MOD == 0);
    }
    if (SCHEDULE == SCHEDULE_INTERVAL) {
        int begin = i == 0u ? walk.range.lo_any : i == 1u ? walk.range.lo_all : walk.range.hi_all;
        int end = i == 0u ? walk.range.lo_all : i == 1u ? walk.range.hi_all : walk.range.hi_any;
        return KeyRun(begin, end, i == 1u || HAS_MASK_MOD == 0);
    }
    return KeyRun(0, params.kv_len, HAS_MASK_MOD == 0);
}

#endif
