// Queries, keys and values of the matrix kernels by way of shared memory, for matrices that a subgroup holds:
//   void take_queries()               once; a barrier follows
//   void multiply_qk(kv, end)         scores = queries . keys of [kv, kv + STEP_KEYS); keys from `end` on count as zeros and are not read
//   void multiply_pv(kv, end)         acc += weights . values of the same keys; calls rescale_acc
// Everything is staged with zeros past the ends of rows and runs, so that dims, lengths and alignment may be anything.
#ifndef VKATTN_MATRIX_STAGED_GLSL
#define VKATTN_MATRIX_STAGED_GLSL

void take_queries() {
    const uint groups = QK_CHUNKS * QK_CHUNK / 4u;
    RowPlace q_first = q_head(uint(b), uint(h));
    [[dont_unroll]] for (uint i = tid; i < TILE_ROWS * groups; i += WORKGROUP_SIZE) {
        uint row = i / groups, group = i % groups;
        uvec2 words = uvec2(0u);
        if (group < QK_GROUPS) words = q_words(row_add(q_first, q_step(uint(query_row(row)))), group);
        shared_queries[row * QUERY_STRIDE + group] = words;
    }
}

void multiply_qk(int kv, int end) {
    [[unroll]] for (uint t = 0u; t < SCORE_MATRICES; t++) scores[t] = MATRIX_ACC(0.0);
    [[dont_unroll]] for (uint chunk = 0u; chunk < QK_CHUNKS; chunk++) {
        barrier();      // the stage's last readers are done; the first time also: queries are staged
        [[dont_unroll]] for (uint i = tid; i < STEP_KEYS * (QK_CHUNK / 4u); i += WORKGROUP_SIZE) {
            uint key = i / (QK_CHUNK / 4u), group = chunk * (QK_CHUNK / 4u) + i % (QK_CHUNK / 4u);
            uvec2 words = uvec2(0u);
            if (kv + int(key) < end && group < QK_GROUPS) words = k_words(row_add(k_first, k_step(uint(kv) + key)), group);
            shared_stage[key * KEY_STRIDE + i % (QK_CHUNK / 4u)] = words;
        }
        barrier();      // the chunk is staged
        [[dont_unroll]] for (uint d = 0u; d < QK_CHUNK; d += MATRIX_K) {
            MATRIX_A queries;
            coopMatLoad(queries, shared_queries, first_row * QUERY_STRIDE + (chunk * QK_CHUNK + d) / 4u, QUERY_STRIDE,
                        gl_CooperativeMatrixLayoutRowMajor);
            [[unroll]] for (uint t = 0u; t < SCORE_MATRICES; t++) {
                uint key = score_key(t) % STEP_KEYS;
                MATRIX_B keys;
                coopMatLoad(keys, shared_stage, key * KEY_STRIDE + d / 4u, KEY_STRIDE, gl_CooperativeMatrixLayoutColumnMajor);
                scores[t] = coopMatMulAdd(queries, keys, scores[t]);
            }
        }
    }
}

void multiply_pv(int kv, int end) {
    const uint groups = VALUE_CHUNK / 4u;
    [[dont_unroll]] for (uint chunk = 0u; chunk < VALUE_CHUNKS; chunk++) {
        if (chunk > 0u) barrier();      // the last chunk is used
        [[dont_unroll]] for (uint i = tid; i < STEP_KEYS * groups; i += WORKGROUP_SIZE) {
            uint key = i / groups, group = chunk * groups + i % groups;
            uvec2 words = uvec2(0u);
            if (kv + int(key) < end && group < VALUE_GROUPS) words = v_words(row_add(v_first, v_step(uint(kv) + key)), group);
            shared_stage[key * VALUE_STRIDE + i % groups] = words;
        }
        barrier();      // the chunk is staged; the first time also: what take_step left in shared memory is there
        if (chunk == 0u) rescale_acc();
        STEP_LOOP for (uint key = 0u; key < STEP_KEYS; key += MATRIX_K) {
            MATRIX_A weights = step_weights(key);
            [[unroll]] for (uint c = 0u; c < VALUE_CHUNKS; c++) {
                if (c != chunk) continue;
                [[unroll]] for (uint t = 0u; t < CHUNK_MATRICES; t++) {
                    MATRIX_B values;
                    coopMatLoad(values, shared_stage, key * VALUE_STRIDE + (t * VALUE_SPLIT + split) * (MATRIX_N / 4u), VALUE_STRIDE,
                                gl_CooperativeMatrixLayoutRowMajor);
                    acc[c * CHUNK_MATRICES + t] = coopMatMulAdd(weights, values, acc[c * CHUNK_MATRICES + t]);
                }
            }
        }
    }
}

#endif
