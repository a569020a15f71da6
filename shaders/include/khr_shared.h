// attention_khr's derived sizes and its shared memory: one list, from which GLSL declares and C++ adds up the bytes. Include it with
// SIZE(name, value) and SHARED(type, bytes of an element, name, elements) defined and the specialization constants in sight; it
// undefines both again. Both languages read the values as arithmetic on unsigned integers.
//
// STAGED, a bool, says whether queries, keys and values go through it; arrays that are not used are of 16 bytes.
//
// Every array is a multiple of 16 bytes, because matrices are loaded from 16-byte boundaries. Row strides are 16 bytes more than a
// row, so that rows begin in different banks.

SIZE(ROW_GROUPS, TILE_ROWS / MATRIX_M)                                  // MATRIX_M rows each
SIZE(VALUE_SPLIT, WORKGROUP_SIZE / SCOPE_SIZE / ROW_GROUPS)          // subgroups that share a row group
SIZE(QK_CHUNKS, (HEAD_DIM + QK_CHUNK - 1u) / QK_CHUNK)
SIZE(VALUE_CHUNKS, (VALUE_DIM + VALUE_CHUNK - 1u) / VALUE_CHUNK)

// Elements of 16 bits, four to a uvec2.
SIZE(QUERY_STRIDE, QK_CHUNKS * QK_CHUNK / 4u + 2u)                      // of a row of queries
SIZE(KEY_STRIDE, QK_CHUNK / 4u + 2u)                                    // of a staged chunk of a key
SIZE(VALUE_STRIDE, VALUE_CHUNK / 4u + 2u)                               // of a value
SIZE(WEIGHT_STRIDE, STEP_KEYS / 4u + 2u)                                // of a row of weights

// Floats, four to a vec4: scores, then weights of the exact passes, then the output on its way.
SIZE(OUTPUT_COLS, MATRIX_N * VALUE_SPLIT)
SIZE(SCORE_STRIDE, (STEP_KEYS > OUTPUT_COLS ? STEP_KEYS : OUTPUT_COLS) / 4u + 1u)

SHARED(uvec2, 8u, shared_queries, STAGED ? TILE_ROWS * QUERY_STRIDE : 2u)
SHARED(uvec2, 8u, shared_stage, STAGED ? STEP_KEYS * (QK_CHUNK > VALUE_CHUNK ? KEY_STRIDE : VALUE_STRIDE) : 2u)
SHARED(vec4, 16u, shared_scores, TILE_ROWS * SCORE_STRIDE)
SHARED(uvec2, 8u, shared_weights, STAGED ? TILE_ROWS * WEIGHT_STRIDE : 2u)
SHARED(float, 4u, shared_factors, TILE_ROWS)
#undef SIZE
#undef SHARED
