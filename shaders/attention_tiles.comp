#version 450
#extension GL_GOOGLE_include_directive : require
// attention_tiles: scaled dot product attention, a tile of query rows per workgroup, staged in shared memory. For GPUs.
//
//   walk the runs of keys that the tile's rows visit; per step of COLS keys
//     scores (ROWS x COLS) = query . keys, 8 groups of d at a time through shared memory; score mod, mask
//     row maxima over THREADS_X threads; weights to shared memory, transposed; rescale acc
//     acc += weights . values, STEP_KEYS keys of v at a time through shared memory
//   o = acc / row_sum; a tile with NaN or infinity in a row is done again, exactly (PASS_MAXIMA, PASS_EXACT)
//
// q [B, Hq, Lq, D], k [B, Hkv, Lkv, D], v [B, Hkv, Lkv, Dv] -> o [B, Hq, Lq, Dv], lse [B, Hq, Lq].
// Grid: x = flat tile * SPLITS + split (tile_rows.glsl), so that neighbours share keys. TILE_ROWS == ROWS. With splits the rows'
// state goes to the workspace, and merge_splits makes o of it.
// A thread (tx, ty) owns scores of rows ty * MICRO_ROWS + r and keys c * THREADS_X + tx, and groups i * THREADS_X + tx of these
// rows' output: 4 * MICRO_ROWS * ceil(Dv / (4 THREADS_X)) registers, the one thing that grows with Dv. MICRO_ROWS: 1, 2 or a multiple
// of 4; ROWS a multiple of 4; THREADS_X at most the subgroup size when SUBGROUP_REDUCE.
// Shared bytes: 16 max((ROWS + COLS) (CHUNK + 1), COLS (ROWS + 4) / 4 + STEP_KEYS (V_GROUPS + 1)) + 20
//               + (SUBGROUP_REDUCE ? 0 : 4 ROWS THREADS_X)
#include "arguments.glsl"
struct KeyRange { int lo_any, hi_any, lo_all, hi_all; };
#include "mask_hook.glsl"
#include "tensor_access.glsl"
#include "output_store.glsl"
#include "online_softmax.glsl"
#include "block_walk.glsl"
#include "tile_rows.glsl"
#include "tile_order.glsl"
#include "tile_walk.glsl"
#include "partials.glsl"

const uint ROWS = WORKGROUP_SIZE / THREADS_X * MICRO_ROWS;
const uint COLS = THREADS_X * MICRO_COLS;
const uint CHUNK = QK_GROUPS < 8u ? QK_GROUPS : 8u;                 // groups of d staged at once
const uint QK_STRIDE = CHUNK + 1u;                                  // odd: threads of a column hit different banks
const uint ACC_GROUPS = (VALUE_GROUPS + THREADS_X - 1u) / THREADS_X;
const uint V_GROUPS = ACC_GROUPS * THREADS_X;                       // of a staged row of v, zeros past Dv
const uint V_STRIDE = V_GROUPS + 1u;
const uint WEIGHT_STRIDE = (ROWS + 4u) / 4u;                        // groups of a key's weights for all rows
const uint V_FIRST = COLS * WEIGHT_STRIDE;                          // weights, then v
const uint QK_SIZE = (ROWS + COLS) * QK_STRIDE;
const uint PV_SIZE = V_FIRST + STEP_KEYS * V_STRIDE;
shared vec4 stage[QK_SIZE > PV_SIZE ? QK_SIZE : PV_SIZE];
#if !SUBGROUP_REDUCE
shared float row_partial[ROWS * THREADS_X];
#endif
shared uint not_finite;

const uint PASS_FAST = 0u;      // online: maximum, weights and sums in one
const uint PASS_MAXIMA = 1u;    // again: the maximum over what attends
const uint PASS_EXACT = 2u;     // then sums, in which excluded pairs are left out by select instead of multiplied by 0

uint tid, tx, ty;
int b, h, first_q;
RowPlace q_first, k_first, v_first;
MaskRow mask_values[MICRO_ROWS];
SoftmaxState state[MICRO_ROWS];                 // row_sum: of this thread's keys until the end
vec4 acc[MICRO_ROWS][ACC_GROUPS];
float scores[MICRO_ROWS][MICRO_COLS];

// Rows past the end compute the last row again and store nothing.
int query_row(uint r) { return min(first_q + int(ty * MICRO_ROWS + r), params.q_len - 1); }

// Over the THREADS_X threads of a row, always in the same order; all of them get the result.
void reduce_rows(inout float x[MICRO_ROWS], const bool sum) {
#if SUBGROUP_REDUCE
    [[unroll]] for (uint r = 0u; r < MICRO_ROWS; r++) {
        [[unroll]] for (uint lane = 1u; lane < THREADS_X; lane *= 2u) {
            float other = subgroupShuffleXor(x[r], lane);
            x[r] = sum ? x[r] + other : max(x[r], other);
        }
    }
#else
    [[unroll]] for (uint r = 0u; r < MICRO_ROWS; r++) row_partial[(ty * MICRO_ROWS + r) * THREADS_X + tx] = x[r];
    barrier();      // all partials are written
    [[unroll]] for (uint r = 0u; r < MICRO_ROWS; r++) {
        uint first = (ty * MICRO_ROWS + r) * THREADS_X;
        x[r] = row_partial[first];
        [[dont_unroll]] for (uint i = 1u; i < THREADS_X; i++)
            x[r] = sum ? x[r] + row_partial[first + i] : max(x[r], row_partial[first + i]);
    }
#endif
}

// scores = scale * query . keys of [kv, kv + COLS); keys from `end` on count as zeros and are not read.
void multiply_qk(int kv, int end) {
    [[unroll]] for (uint r = 0u; r < MICRO_ROWS; r++) {
        [[unroll]] for (uint c = 0u; c < MICRO_COLS; c++) scores[r][c] = 0.0;
    }
    [[dont_unroll]] for (uint chunk = 0u; chunk < QK_GROUPS; chunk += CHUNK) {
        barrier();      // the stage's last readers are done
        [[dont_unroll]] for (uint i = tid; i < ROWS * CHUNK; i += WORKGROUP_SIZE) {
            uint row = i / CHUNK, group = chunk + i % CHUNK;
            uint q = uint(min(first_q + int(row), params.q_len - 1));
            vec4 x = vec4(0.0);
            if (group < QK_GROUPS) x = q_group(row_add(q_first, q_step(q)), group);
            stage[row * QK_STRIDE + i % CHUNK] = x;
        }
        [[dont_unroll]] for (uint i = tid; i < COLS * CHUNK; i += WORKGROUP_SIZE) {
            uint col = i / CHUNK, group = chunk + i % CHUNK;
            vec4 x = vec4(0.0);
            if (kv + int(col) < end && group < QK_GROUPS) x = k_group(row_add(k_first, k_step(uint(kv) + col)), group);
            stage[(ROWS + col) * QK_STRIDE + i % CHUNK] = x;
        }
        barrier();      // the chunk is staged
        [[unroll]] for (uint d = 0u; d < CHUNK; d++) {
            vec4 x[MICRO_ROWS];
            [[unroll]] for (uint r = 0u; r < MICRO_ROWS; r++) x[r] = stage[(ty * MICRO_ROWS + r) * QK_STRIDE + d];
            [[unroll]] for (uint c = 0u; c < MICRO_COLS; c++) {
                vec4 y = stage[(ROWS + c * THREADS_X + tx) * QK_STRIDE + d];
                [[unroll]] for (uint r = 0u; r < MICRO_ROWS; r++) scores[r][c] += dot(x[r], y);
            }
        }
    }
    // Not the query: products of 16-bit elements are exact.
    [[unroll]] for (uint r = 0u; r < MICRO_ROWS; r++) {
        [[unroll]] for (uint c = 0u; c < MICRO_COLS; c++) scores[r][c] *= params.scale * SCALE_FACTOR;
    }
}

// Score mod and mask; excluded pairs become LOWEST_SCORE and lose their bit in the result, bit r * MICRO_COLS + c.
uint select_scores(int kv, KeyRun run, bool tested) {
    uint attending = 0u;
    [[unroll]] for (uint c = 0u; c < MICRO_COLS; c++) {
        int key = kv + int(c * THREADS_X + tx);
        bool inside = key < run.end;
        key = min(key, params.kv_len - 1);
        MaskCol col = mask_col(b, h, key);
        [[unroll]] for (uint r = 0u; r < MICRO_ROWS; r++) {
            int q = query_row(r);
            if (HAS_SCORE_MOD != 0) scores[r][c] = score_pair(mask_values[r], col, scores[r][c], b, h, q, key);
            bool attends = inside;
            if (tested && inside && !run.full) attends = mask_pair(mask_values[r], col, b, h, q, key);
            scores[r][c] = attends ? scores[r][c] : LOWEST_SCORE;
            attending |= attends ? 1u << (r * MICRO_COLS + c) : 0u;
        }
    }
    return attending;
}

bool is_attending(uint attending, uint r, uint c) { return (attending >> (r * MICRO_COLS + c) & 1u) != 0u; }

// Scores become weights, sums are brought up to date, acc is rescaled.
void weigh(uint attending) {
    float maxima[MICRO_ROWS];
    [[unroll]] for (uint r = 0u; r < MICRO_ROWS; r++) {
        maxima[r] = LOWEST_SCORE;
        [[unroll]] for (uint c = 0u; c < MICRO_COLS; c++) maxima[r] = max(maxima[r], scores[r][c]);
    }
    reduce_rows(maxima, false);
    [[unroll]] for (uint r = 0u; r < MICRO_ROWS; r++) {
        float factor = softmax_rescale(state[r], maxima[r]);
        [[unroll]] for (uint i = 0u; i < ACC_GROUPS; i++) acc[r][i] *= factor;
        [[unroll]] for (uint c = 0u; c < MICRO_COLS; c++) {
            bool attends = is_attending(attending, r, c);
            scores[r][c] = attends ? softmax_weight(state[r], scores[r][c]) : 0.0;
            state[r].row_sum += scores[r][c];
        }
    }
}

// The exact passes: the maximum is over finite scores, and +inf or NaN make the sum NaN. A weight is never 0 where a pair attends,
// since an infinite value is infinite at any weight; a score of -inf does not attend.
void weigh_exactly(uint attending, uint pass) {
    float maxima[MICRO_ROWS];
    [[unroll]] for (uint r = 0u; r < MICRO_ROWS; r++) {
        maxima[r] = state[r].row_max;
        [[unroll]] for (uint c = 0u; c < MICRO_COLS; c++) {
            float score = scores[r][c];
            bool attends = is_attending(attending, r, c) && floatBitsToUint(score) != 0xff800000u;
            if (pass == PASS_MAXIMA) {
                maxima[r] = attends && is_finite(score) ? max(maxima[r], score) : maxima[r];
            } else {
                scores[r][c] = attends ? max(softmax_weight(state[r], score), 1e-37) : 0.0;
                state[r].row_sum += attends && !is_finite(score) ? not_a_number() : scores[r][c];
            }
        }
    }
    if (pass == PASS_MAXIMA) {
        reduce_rows(maxima, false);
        [[unroll]] for (uint r = 0u; r < MICRO_ROWS; r++) state[r].row_max = maxima[r];
    }
}

// Weights to shared memory, transposed: weight of (key, row) at [key][row].
void store_weights() {
    [[unroll]] for (uint c = 0u; c < MICRO_COLS; c++) {
        uint first = (c * THREADS_X + tx) * WEIGHT_STRIDE;
        [[unroll]] for (uint r = 0u; r < MICRO_ROWS; r += 4u) {
            uint row = ty * MICRO_ROWS + r;
            if (MICRO_ROWS >= 4u) {
                stage[first + row / 4u] = vec4(scores[r][c], scores[(r + 1u) % MICRO_ROWS][c], scores[(r + 2u) % MICRO_ROWS][c],
                                               scores[(r + 3u) % MICRO_ROWS][c]);
            } else {
                [[unroll]] for (uint x = 0u; x < MICRO_ROWS; x++) stage[first + (row + x) / 4u][(row + x) % 4u] = scores[x][c];
            }
        }
    }
}

void load_weights(uint key, out float weights[MICRO_ROWS]) {
    [[unroll]] for (uint r = 0u; r < MICRO_ROWS; r += 4u) {
        uint row = ty * MICRO_ROWS + r;
        vec4 x = stage[key * WEIGHT_STRIDE + row / 4u];
        if (MICRO_ROWS >= 4u) {
            [[unroll]] for (uint i = 0u; i < 4u; i++) weights[(r + i) % MICRO_ROWS] = x[i];
        } else {
            vec2 pair = row % 4u < 2u ? x.xy : x.zw;
            [[unroll]] for (uint i = 0u; i < MICRO_ROWS; i++) weights[i] = (row + i) % 2u == 0u ? pair.x : pair.y;
        }
    }
}

void multiply_pv(int kv, int end, bool exact) {
    [[dont_unroll]] for (uint first = 0u; first < COLS; first += STEP_KEYS) {
        [[dont_unroll]] for (uint i = tid; i < STEP_KEYS * V_GROUPS; i += WORKGROUP_SIZE) {
            uint key = i / V_GROUPS, group = i % V_GROUPS;
            vec4 x = vec4(0.0);
            if (kv + int(first + key) < end && group < VALUE_GROUPS)
                x = v_group(row_add(v_first, v_step(uint(kv) + first + key)), group);
            stage[V_FIRST + key * V_STRIDE + group] = x;
        }
        barrier();      // weights and these values are staged
        [[dont_unroll]] for (uint key = 0u; key < STEP_KEYS; key++) {
            float weights[MICRO_ROWS];
            load_weights(first + key, weights);
            [[unroll]] for (uint i = 0u; i < ACC_GROUPS; i++) {
                vec4 value = stage[V_FIRST + key * V_STRIDE + i * THREADS_X + tx];
                [[unroll]] for (uint r = 0u; r < MICRO_ROWS; r++) {
                    if (exact)
                        acc[r][i] += mix(vec4(0.0), weights[r] * value, bvec4(weights[r] > 0.0));
                    else
                        acc[r][i] += weights[r] * value;
                }
            }
        }
        barrier();      // these values are used; the next ones, or the next step's chunk, may take their place
    }
}

void run_pass(BlockWalk walk, uint pass) {
    [[unroll]] for (uint r = 0u; r < MICRO_ROWS; r++) {
        if (pass == PASS_EXACT) state[r].row_sum = 0.0; else state[r] = softmax_init();
        [[unroll]] for (uint i = 0u; i < ACC_GROUPS; i++) acc[r][i] = vec4(0.0);
    }
    uint passed = 0u;
    [[dont_unroll]] for (uint i = 0u; i < walk.runs; i++) {
        KeyRun run = walk_run(walk, i, passed);
        [[dont_unroll]] for (int kv = run.begin; kv < run.end; kv += int(COLS)) {
            multiply_qk(kv, run.end);
            uint attending = ~0u;
            bool whole = run.full && kv + int(COLS) <= run.end;
            if (!whole || HAS_SCORE_MOD != 0) attending = select_scores(kv, run, !whole);
            if (pass == PASS_FAST) weigh(attending); else weigh_exactly(attending, pass);
            if (pass == PASS_MAXIMA) continue;
            barrier();      // the last chunk's scores are done: weights may take its place
            store_weights();
            multiply_pv(kv, run.end, pass == PASS_EXACT);
        }
    }
}

bool tile_is_finite() {
    bool finite = true;
    [[unroll]] for (uint r = 0u; r < MICRO_ROWS; r++) {
        finite = finite && is_finite(state[r].row_sum);
        [[unroll]] for (uint i = 0u; i < ACC_GROUPS; i++) finite = finite && is_finite(acc[r][i]);
    }
    if (!finite) atomicOr(not_finite, 1u);
    barrier();      // everybody's verdict is in
    return not_finite == 0u;
}

void store_rows(uint split) {
    float sums[MICRO_ROWS];
    [[unroll]] for (uint r = 0u; r < MICRO_ROWS; r++) sums[r] = state[r].row_sum;
    reduce_rows(sums, true);
    [[unroll]] for (uint r = 0u; r < MICRO_ROWS; r++) {
        int q = first_q + int(ty * MICRO_ROWS + r);
        if (q < params.q_len) {
            state[r].row_sum = sums[r];
            if (SPLITS > 1u) {
                RowPlace place = partial_place(b, h, q, split);
                [[unroll]] for (uint i = 0u; i < ACC_GROUPS; i++) {
                    uint group = i * THREADS_X + tx;
                    if (group < VALUE_GROUPS) partial_store(place, group, acc[r][i]);
                }
                if (tx == 0u) partial_store_state(place, state[r].row_max, sums[r]);
                continue;
            }
            bool poisoned = !is_finite(sums[r]);
            float inverse = softmax_inverse(state[r]);
            RowPlace o_row = row_add(o_head(uint(b), uint(h)), o_step(uint(q)));
            [[unroll]] for (uint i = 0u; i < ACC_GROUPS; i++) {
                uint group = i * THREADS_X + tx;
                if (group < VALUE_GROUPS) o_store(o_row, group, poisoned ? vec4(not_a_number()) : acc[r][i] * inverse);
            }
            if (tx == 0u) lse_store(uint(b), uint(h), uint(q), poisoned ? not_a_number() : softmax_lse(state[r]));
        }
    }
}

void main() {
#if SUBGROUP_REDUCE
    tid = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
#else
    tid = gl_LocalInvocationIndex;
#endif
    tx = tid % THREADS_X;
    ty = tid / THREADS_X;
    uint part = gl_WorkGroupID.x + push.tile_base;
    uint split = part % SPLITS;
    TilePlace tile = ordered_tile_place(part / SPLITS);
    b = tile.b;
    h = tile.first_h;
    first_q = tile.first_q;
    uint kv_head = uint(tile.kv_head);
    q_first = q_head(uint(b), uint(h));
    k_first = k_head(uint(b), kv_head);
    v_first = v_head(uint(b), kv_head);
    [[unroll]] for (uint r = 0u; r < MICRO_ROWS; r++) mask_values[r] = mask_row(b, h, query_row(r));
    if (tid == 0u) not_finite = 0u;
    barrier();      // the flag is clear

    BlockWalk walk = walk_share(walk_tile(b, h, first_q, ROWS, int(COLS), tid), split, COLS);
    uint passes = 1u;
    [[dont_unroll]] for (uint pass = PASS_FAST; pass < passes; pass++) {
        run_pass(walk, pass);
        if (pass == PASS_FAST && !tile_is_finite()) passes = PASS_EXACT + 1u;
    }
    store_rows(split);
}
