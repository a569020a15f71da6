// Which keys a tile of query rows visits, as runs of neighbouring keys. One iterator over three schedules:
//   dense      one run, all keys
//   interval   from mask_row_range, combined over the tile's rows: tested keys, keys that need no test, tested keys
//   list       the block row's runs in the tables buffer (params.list_*)
//   indices    the block row's columns there, in any order: partial blocks, then full ones, each a run of one block (PyTorch's arrays)
// Lists are bytes that somebody wrote: counts, blocks and rows are clamped, so that no run leaves [0, kv_len) and the number of runs
// is at most the number of key blocks, or of the row's places.
//
// With SPLITS > 1 a tile's keys are shared out: walk_share gives each split as many units of `unit` keys as the others, give or take
// one, in the walk's order (indices: as many blocks), so that tiles with few keys are cut as evenly as those with many.
#ifndef VKATTN_BLOCK_WALK_GLSL
#define VKATTN_BLOCK_WALK_GLSL

const uint SCHEDULE_DENSE = 0u;
const uint SCHEDULE_INTERVAL = 1u;
const uint SCHEDULE_LIST = 2u;
const uint SCHEDULE_INDICES = 3u;

// Keys [begin, end), 0 <= begin, end <= kv_len. full: every pair attends, mask_pair is not asked.
struct KeyRun {
    int begin;
    int end;
    bool full;
};

struct BlockWalk {
    uint runs;                  // walk_run(walk, 0 .. runs - 1, passed)
    uint list_word;             // tables word of the first run or partial block
    uint full_word;             // of the first full block
    uint n_partial;
    KeyRange range;
    // The split's share. indices: from run `share_begin` on; else units, counted over the runs.
    uint share_begin;
    uint share_end;
    uint unit;                  // keys; runs are cut at whole units from their first key
};
const KeyRange NO_RANGE = KeyRange(0, 0, 0, 0);

// Combining rows: `any` grows to the hull, `all` shrinks to what the rows have in common.
KeyRange key_range_none() { return KeyRange(0x7fffffff, 0, 0, 0x7fffffff); }
KeyRange key_range_of_row(KeyRange row) {
    bool none = row.hi_any <= row.lo_any;
    return KeyRange(none ? 0x7fffffff : row.lo_any, none ? 0 : row.hi_any, row.lo_all, row.hi_all);
}
KeyRange key_range_join(KeyRange a, KeyRange b) {
    return KeyRange(min(a.lo_any, b.lo_any), max(a.hi_any, b.hi_any), max(a.lo_all, b.lo_all), min(a.hi_all, b.hi_all));
}

BlockWalk walk_dense() { return BlockWalk(1u, 0u, 0u, 0u, NO_RANGE, 0u, 0u, 1u); }

// `joined` is the join over all rows of the tile. Runs are cut at whole steps from the first key, so that only the last step is
// ragged: what a full run loses is tested.
BlockWalk walk_interval(KeyRange joined, int step_keys) {
    int lo = clamp(joined.lo_any, 0, params.kv_len);
    int hi = clamp(joined.hi_any, lo, params.kv_len);
    int before = clamp(joined.lo_all, lo, hi) - lo;
    int until = clamp(joined.hi_all, lo, hi) - lo;
    int lo_all = min((before + step_keys - 1) / step_keys * step_keys, hi - lo);
    int hi_all = max(until / step_keys * step_keys, lo_all);
    return BlockWalk(3u, 0u, 0u, 0u, KeyRange(lo, hi, lo + lo_all, lo + hi_all), 0u, 0u, 1u);
}

uint key_blocks() { return (uint(params.kv_len) + params.list_block_kv - 1u) / max(params.list_block_kv, 1u); }

uint list_count(uint word) { return uint(clamp(int(tables_word(word)), 0, int(params.list_columns))); }

BlockWalk walk_list(uint b, uint h, uint first_q) {
    uint row = b * params.list_stride_b + h * params.list_stride_h;
    row += min(first_q / max(params.list_block_q, 1u), max(params.list_rows, 1u) - 1u);
    if (SCHEDULE == SCHEDULE_INDICES) {
        uint n_partial = list_count(params.list_offsets_words + row);
        uint n_full = list_count(params.list_full_counts_words + row);
        uint place = row * params.list_columns;
        return BlockWalk(n_partial + n_full, params.list_runs_words + place, params.list_full_indices_words + place, n_partial, NO_RANGE,
                         0u, 0u, 1u);
    }
    uint first = min(tables_word(params.list_offsets_words + row), params.list_runs);
    uint last = min(tables_word(params.list_offsets_words + row + 1u), params.list_runs);
    return BlockWalk(min(max(last, first) - first, key_blocks()), params.list_runs_words + 2u * first, 0u, 0u, NO_RANGE, 0u,
                     0u, 1u);
}

// Blocks [first, end) as keys.
KeyRun run_of_blocks(uint first, uint end, bool full) {
    uint length = uint(params.kv_len);
    return KeyRun(int(min(first * params.list_block_kv, length)), int(min(end * params.list_block_kv, length)),
                  (full && (params.flags & PARAMS_LIST_ALL_PARTIAL) == 0u) || HAS_MASK_MOD == 0);
}

KeyRun whole_run(BlockWalk walk, uint i) {
    uint blocks = key_blocks();
    if (SCHEDULE == SCHEDULE_INDICES) {
        bool full = i >= walk.n_partial;
        uint block = tables_word(full ? walk.full_word + i - walk.n_partial : walk.list_word + i);
        uint first = min(block, blocks);
        return run_of_blocks(first, min(first + 1u, blocks), full);
    }
    if (SCHEDULE == SCHEDULE_LIST) {
        uint first_and_kind = tables_word(walk.list_word + 2u * i);
        uint first = min(first_and_kind & 0x7fffffffu, blocks);
        uint end = first + min(tables_word(walk.list_word + 2u * i + 1u), blocks - first);
        return run_of_blocks(first, end, (first_and_kind >> 31) != 0u);
    }
    if (SCHEDULE == SCHEDULE_INTERVAL) {
        int begin = i == 0u ? walk.range.lo_any : i == 1u ? walk.range.lo_all : walk.range.hi_all;
        int end = i == 0u ? walk.range.lo_all : i == 1u ? walk.range.hi_all : walk.range.hi_any;
        return KeyRun(begin, end, i == 1u || HAS_MASK_MOD == 0);
    }
    return KeyRun(0, params.kv_len, HAS_MASK_MOD == 0);
}

uint run_units(KeyRun run, uint unit) { return (uint(max(run.end - run.begin, 0)) + unit - 1u) / unit; }

// A share of fewer keys is not worth a partial: then the last splits have none.
const uint LEAST_SHARE_KEYS = 32u;

BlockWalk walk_share(BlockWalk walk, uint split, uint unit) {
    if (SPLITS == 1u) return walk;
    uint units = 0u;
    uint unit_keys = unit;
    if (SCHEDULE == SCHEDULE_INDICES) {
        units = walk.runs;
        unit_keys = max(params.list_block_kv, 1u);
    } else {
        [[dont_unroll]] for (uint i = 0u; i < walk.runs; i++) units += run_units(whole_run(walk, i), unit);
    }
    uint least = (LEAST_SHARE_KEYS + unit_keys - 1u) / unit_keys;
    uint shares = clamp(units / least, 1u, SPLITS);
    uint place = min(split, shares);
    uint each = units / shares;
    uint more = units - each * shares;          // the first shares have one unit more
    walk.share_begin = each * place + min(place, more);
    walk.share_end = split < shares ? walk.share_begin + each + (split < more ? 1u : 0u) : walk.share_begin;
    walk.unit = unit;
    if (SCHEDULE == SCHEDULE_INDICES) walk.runs = walk.share_end - walk.share_begin;
    return walk;
}

// Run i of this split, for i = 0 .. walk.runs - 1 in turn; `passed` starts at 0. It may be empty.
KeyRun walk_run(BlockWalk walk, uint i, inout uint passed) {
    if (SPLITS == 1u) return whole_run(walk, i);
    if (SCHEDULE == SCHEDULE_INDICES) return whole_run(walk, walk.share_begin + i);
    KeyRun run = whole_run(walk, i);
    uint units = run_units(run, walk.unit);
    uint lo = clamp(walk.share_begin, passed, passed + units) - passed;
    uint hi = clamp(walk.share_end, passed, passed + units) - passed;
    passed += units;
    run.end = hi == units ? run.end : run.begin + int(hi * walk.unit);
    run.begin += int(lo * walk.unit);
    return run;
}

#endif
