#version 450
#extension GL_GOOGLE_include_directive : require
// attention_decode: scaled dot product attention of few query rows a key head: decoding, speculative trees.
//
//   walk the split's share of the keys that the tile's rows visit; per step of STEP_KEYS keys
//     products of this invocation's own elements, all rows with all keys of the step; a transposing sum over the sharers
//       leaves each of them the scores of one key (of key own % STEP_KEYS); score mod, mask
//     row maxima over the sharers, weights, rescale; acc += weight . value, each its own elements
//   acc, row_max and row_sum go to the workspace; a tile with NaN or infinity in a row is done again, exactly
//
// q [B, Hq, Lq, D], k [B, Hkv, Lkv, D], v [B, Hkv, Lkv, Dv] -> partials [B, Hq, Lq, SPLITS] (partials.glsl), of which
// merge_splits makes o and lse.
// Rows are HEADS_PER_TILE heads (any number, of one key head) x HEAD_ROWS queries, so that a key is read once for all of them.
// SHARERS (THREADS_X, a power of two, at most the subgroup size) invocations are a team that shares keys; a workgroup has TEAMS of
// them, each a split of its own. STEP_KEYS is a power of two, at most SHARERS: compilers issue all loads of a step at once, and what
// they load takes registers. Grid: x = flat tile * ceil(SPLITS / TEAMS) + split / TEAMS.
// Shared memory: none. Barriers: none. Registers an invocation: about
// TILE_ROWS * ((D + Dv) / SHARERS + STEP_KEYS) + STEP_KEYS * max(D, Dv) / SHARERS.
// All loops that index private arrays are unrolled: about 2 TILE_ROWS * (D + Dv) multiply-adds.
#ifndef SUBGROUP_REDUCE
#define SUBGROUP_REDUCE 1
#endif
#define READ_OWNED
#include "arguments.glsl"
struct KeyRange { int lo_any, hi_any, lo_all, hi_all; };
#include "mask_hook.glsl"
#include "tensor_access.glsl"
#include "online_softmax.glsl"
#include "block_walk.glsl"
#include "tile_rows.glsl"
#include "partials.glsl"

const uint SHARERS = THREADS_X;
const uint TEAMS = WORKGROUP_SIZE / THREADS_X;

const uint PASS_FAST = 0u;      // online: maximum, weights and sums in one
const uint PASS_MAXIMA = 1u;    // again: the maximum over what attends
const uint PASS_EXACT = 2u;     // then sums, in which excluded pairs are left out by select instead of multiplied by 0

uint own;                       // which of the sharers this is
TilePlace tile;
int row_h[TILE_ROWS], row_q[TILE_ROWS];
MaskRow mask_values[TILE_ROWS];
RowPlace k_first, v_first;                  // key 0 of the head
RowStep k_steps[STEP_KEYS], v_steps[STEP_KEYS]; // key i of a step from its first; stays on the last key where kv_len is short
vec4 query[TILE_ROWS][k_parts];             // this invocation's elements
vec4 acc[TILE_ROWS][v_parts];
SoftmaxState state[TILE_ROWS];              // row_sum: of this invocation's keys until the end
int walk_head;                              // lists by head are walked head by head; -1: one walk for all rows

// Every STEP_KEYS sharers hold the scores of all keys of a step.
float team_max(float x) {
    [[unroll]] for (uint n = 1u; n < STEP_KEYS; n *= 2u) x = max(x, subgroupShuffleXor(x, n));
    return x;
}
// Over neighbours, `sharers` of them.
float sum_over(float x, uint sharers) {
    [[unroll]] for (uint n = 1u; n < sharers; n *= 2u) x += subgroupShuffleXor(x, n);
    return x;
}
float team_sum(float x) { return sum_over(x, SHARERS); }
// Sum over the sharers of x[own % STEP_KEYS]. Halves what is left of x five times at most, as 1 << 5 sharers are the most.
float transposing_sum(float x[STEP_KEYS]) {
    [[unroll]] for (uint stage = 0u; stage < 5u; stage++) {
        uint n = STEP_KEYS >> (stage + 1u);
        bool upper = (own & n) != 0u;
        [[unroll]] for (uint c = 0u; c < STEP_KEYS / 2u; c++) {
            if (c < n) x[c] = mix(x[c], x[(c + n) % STEP_KEYS], upper) + subgroupShuffleXor(mix(x[(c + n) % STEP_KEYS], x[c], upper), n);
        }
    }
    [[unroll]] for (uint n = STEP_KEYS; n < SHARERS; n *= 2u) x[0] += subgroupShuffleXor(x[0], n);
    return x[0];
}

bool is_walked(uint r) { return walk_head < 0 || row_h[r] == walk_head; }

// Keys [kv, kv + STEP_KEYS). Moved back to end at kv_len, since drivers may run a last time with no invocation active and load all
// the same; keys outside [kv, end) are excluded. Every step is tested: that is one evaluation a row for all keys of the step, and
// one loop compiles in half the time of two.
void attend(int kv, int end, bool full) {
    int first = max(min(kv, params.kv_len - int(STEP_KEYS)), 0);
    RowPlace k_step_first = row_add(k_first, k_step(uint(first)));
    RowPlace v_step_first = row_add(v_first, v_step(uint(first)));

    float products[TILE_ROWS][STEP_KEYS];
    [[unroll]] for (uint c = 0u; c < STEP_KEYS; c++) {
        RowPlace key_row = row_add(k_step_first, k_steps[c]);
        [[unroll]] for (uint r = 0u; r < TILE_ROWS; r++) products[r][c] = 0.0;
        [[unroll]] for (uint part = 0u; part < k_parts; part++) {
            vec4 x = k_owned(key_row, part, own);
            [[unroll]] for (uint r = 0u; r < TILE_ROWS; r++) {
                [[unroll]] for (uint i = 0u; i < k_unit; i++) products[r][c] = fma(query[r][part][i], x[i], products[r][c]);
            }
        }
    }

    int key_of_step = first + int(own % STEP_KEYS);
    int key = min(key_of_step, params.kv_len - 1);
    bool inside = key_of_step >= kv && key_of_step < end;
    float weights[TILE_ROWS];
    [[unroll]] for (uint r = 0u; r < TILE_ROWS; r++) {
        float score = transposing_sum(products[r]) * (params.scale * SCALE_FACTOR);     // exact products: see attention_rows
        MaskCol col = mask_col(tile.b, row_h[r], key);
        if (HAS_SCORE_MOD != 0) score = score_pair(mask_values[r], col, score, tile.b, row_h[r], row_q[r], key);
        bool kept = mask_pair(mask_values[r], col, tile.b, row_h[r], row_q[r], key);     // no branch
        bool attends = inside && is_walked(r) && (full || kept);
        score = attends ? score : LOWEST_SCORE;
        float factor = softmax_rescale(state[r], team_max(score));
        float weight = softmax_weight(state[r], score);
        weights[r] = attends ? weight : 0.0;
        state[r].row_sum += weights[r];
        [[unroll]] for (uint part = 0u; part < v_parts; part++) acc[r][part] *= factor;
    }

    uint team_first = gl_SubgroupInvocationID - own;
    [[unroll]] for (uint c = 0u; c < STEP_KEYS; c++) {
        RowPlace value_row = row_add(v_step_first, v_steps[c]);
        float key_weights[TILE_ROWS];
        [[unroll]] for (uint r = 0u; r < TILE_ROWS; r++) key_weights[r] = subgroupShuffle(weights[r], team_first + c);
        [[unroll]] for (uint part = 0u; part < v_parts; part++) {
            vec4 x = v_owned(value_row, part, own);
            [[unroll]] for (uint r = 0u; r < TILE_ROWS; r++) acc[r][part] = fma(vec4(key_weights[r]), x, acc[r][part]);
        }
    }
}

// One key in an exact pass. Excluded pairs and scores of -inf are left out by select, so that what k and v hold there cannot matter.
// A weight is never 0 where a pair attends: an infinite value is infinite at any weight.
void attend_exactly(int kv, bool full, uint pass) {
    int key = min(kv, params.kv_len - 1);
    RowPlace k_row = row_add(k_first, k_step(uint(key)));
    RowPlace v_row = row_add(v_first, v_step(uint(key)));
    float scores[TILE_ROWS];
    [[unroll]] for (uint r = 0u; r < TILE_ROWS; r++) scores[r] = 0.0;
    [[unroll]] for (uint part = 0u; part < k_parts; part++) {
        vec4 x = k_owned(k_row, part, own);
        [[unroll]] for (uint r = 0u; r < TILE_ROWS; r++) {
            [[unroll]] for (uint i = 0u; i < k_unit; i++) scores[r] = fma(query[r][part][i], x[i], scores[r]);
        }
    }
    float weights[TILE_ROWS];
    bool attends[TILE_ROWS];
    [[unroll]] for (uint r = 0u; r < TILE_ROWS; r++) weights[r] = 0.0;
    [[unroll]] for (uint r = 0u; r < TILE_ROWS; r++) {
        float score = team_sum(scores[r]) * (params.scale * SCALE_FACTOR);
        MaskCol col = mask_col(tile.b, row_h[r], key);
        if (HAS_SCORE_MOD != 0) score = score_pair(mask_values[r], col, score, tile.b, row_h[r], row_q[r], key);
        attends[r] = is_walked(r) && (full || mask_pair(mask_values[r], col, tile.b, row_h[r], row_q[r], key));
        attends[r] = attends[r] && floatBitsToUint(score) != 0xff800000u;
        if (pass == PASS_MAXIMA) {
            state[r].row_max = attends[r] && is_finite(score) ? max(state[r].row_max, score) : state[r].row_max;
        } else {
            weights[r] = attends[r] ? max(softmax_weight(state[r], score), 1e-37) : 0.0;
            state[r].row_sum += attends[r] && !is_finite(score) ? not_a_number() : own == 0u ? weights[r] : 0.0;
        }
    }
    [[unroll]] for (uint part = 0u; part < v_parts; part++) {
        vec4 x = v_owned(v_row, part, own);
        [[unroll]] for (uint r = 0u; r < TILE_ROWS; r++) {
            bvec4 adds = bvec4(attends[r] && pass == PASS_EXACT);
            acc[r][part] += mix(vec4(0.0), weights[r] * x, adds);
        }
    }
}

BlockWalk start_walk(uint head) {
    if (SCHEDULE == SCHEDULE_LIST || SCHEDULE == SCHEDULE_INDICES)
        return walk_list(uint(tile.b), uint(tile_row_h(tile, head * HEAD_ROWS)), uint(tile.first_q));
    if (SCHEDULE == SCHEDULE_DENSE) return walk_dense();
    KeyRange joined = key_range_none();
    [[unroll]] for (uint r = 0u; r < TILE_ROWS; r++)
        joined = key_range_join(joined, key_range_of_row(mask_row_range(mask_values[r], tile.b, row_h[r], row_q[r])));
    return walk_interval(joined, int(STEP_KEYS));
}

void run_pass(uint split, uint pass) {
    [[unroll]] for (uint r = 0u; r < TILE_ROWS; r++) {
        if (pass == PASS_EXACT) state[r].row_sum = 0.0; else state[r] = softmax_init();
        [[unroll]] for (uint part = 0u; part < v_parts; part++) acc[r][part] = vec4(0.0);
    }
    bool lists = SCHEDULE == SCHEDULE_LIST || SCHEDULE == SCHEDULE_INDICES;
    bool by_head = lists && HEADS_PER_TILE > 1u && params.list_stride_h != 0u;
    uint walks = by_head ? uint(min(int(HEADS_PER_TILE), (tile.kv_head + 1) * params.group - tile.first_h)) : 1u;
    [[dont_unroll]] for (uint head = 0u; head < walks; head++) {
        walk_head = by_head ? tile.first_h + int(head) : -1;
        BlockWalk walk = walk_share(start_walk(head), split, STEP_KEYS);
        uint passed = 0u;
        [[dont_unroll]] for (uint i = 0u; i < walk.runs; i++) {
            KeyRun run = walk_run(walk, i, passed);
            int kv = run.begin;
            if (pass == PASS_FAST) {
                [[dont_unroll]] for (; kv < run.end; kv += int(STEP_KEYS)) attend(kv, run.end, run.full);
            } else {
                [[dont_unroll]] for (; kv < run.end; kv++) attend_exactly(kv, run.full, pass);
            }
        }
    }
}

bool tile_is_finite() {
    bool finite = true;
    [[unroll]] for (uint r = 0u; r < TILE_ROWS; r++) {
        finite = finite && is_finite(state[r].row_sum);
        [[unroll]] for (uint part = 0u; part < v_parts; part++) finite = finite && is_finite(acc[r][part]);
    }
    // Of all teams of the subgroup, so that no loop of main() is left by some invocations before others: they all have splits of one
    // tile, and lavapipe's last iteration, in which nobody is active, would read descriptors that are not there.
    return subgroupOr(finite ? 0u : 1u) == 0u;
}

void store_rows(uint split) {
    [[unroll]] for (uint r = 0u; r < TILE_ROWS; r++) {
        // Of the fast pass every STEP_KEYS sharers hold all keys; of the exact pass the first holds all.
        float row_sum = sum_over(state[r].row_sum, STEP_KEYS);
        if (tile_row_exists(tile, r)) {
            RowPlace place = partial_place(tile.b, row_h[r], row_q[r], split);
            [[unroll]] for (uint part = 0u; part < v_parts; part++) {
                [[unroll]] for (uint i = 0u; i < v_unit; i++) {
                    uint e = (part * SHARERS + own) * v_unit + i;
                    if (e < PARTIAL_STATE) PARTIAL(place, e) = acc[r][part][i];
                }
            }
            if (own == 0u) partial_store_state(place, state[r].row_max, row_sum);
        }
    }
}

void main() {
    uint invocation = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
    own = invocation % SHARERS;
    const uint groups = (SPLITS + TEAMS - 1u) / TEAMS;
    uint part_of_grid = gl_WorkGroupID.x + push.tile_base;
    uint flat_tile = part_of_grid / groups;
    // With one team to a workgroup all that follows is the same for all invocations, and compilers must see it.
    uint wanted = (part_of_grid - flat_tile * groups) * TEAMS + (TEAMS == 1u ? 0u : invocation / SHARERS);
    // Nobody leaves early (see merge_splits): teams past the end make the last split again and store nothing.
    uint split = TEAMS == 1u ? wanted : min(wanted, SPLITS - 1u);

    tile = tile_place(flat_tile);
    k_first = k_head(uint(tile.b), uint(tile.kv_head));
    v_first = v_head(uint(tile.b), uint(tile.kv_head));
    [[unroll]] for (uint c = 0u; c < STEP_KEYS; c++) {
        uint key = uint(max(min(int(c), params.kv_len - 1), 0));
        k_steps[c] = k_step(key);
        v_steps[c] = v_step(key);
    }
    [[unroll]] for (uint r = 0u; r < TILE_ROWS; r++) {
        row_h[r] = tile_row_h(tile, r);
        row_q[r] = tile_row_q(tile, r);
        mask_values[r] = mask_row(tile.b, row_h[r], row_q[r]);
        RowPlace q_row = row_add(q_head(uint(tile.b), uint(row_h[r])), q_step(uint(row_q[r])));
        [[unroll]] for (uint part = 0u; part < k_parts; part++) {
            [[unroll]] for (uint i = 0u; i < 4u; i++) {
                uint e = (part * SHARERS + own) * k_unit + i;
                query[r][part][i] = i < k_unit && e < HEAD_DIM ? q_group(q_row, e / 4u)[e % 4u] : 0.0;
            }
        }
    }

    uint passes = params.kv_len > 0 ? 1u : 0u;
    [[unroll]] for (uint r = 0u; r < TILE_ROWS; r++) {
        state[r] = softmax_init();
        [[unroll]] for (uint part = 0u; part < v_parts; part++) acc[r][part] = vec4(0.0);
    }
    [[dont_unroll]] for (uint pass = PASS_FAST; pass < passes; pass++) {
        run_pass(split, pass);
        if (pass == PASS_FAST && !tile_is_finite()) passes = PASS_EXACT + 1u;
    }
    if (TEAMS == 1u || wanted == split) store_rows(split);
}
