// Queries, keys and values of attention_nv for matrices that the whole workgroup holds; matrix_staged.glsl says what the functions do.
// Nothing is staged here: compilers do that for such matrices, in shared memory of their own. Queries stay in registers.
//
// Rows that begin at multiples of 16 bytes are loaded by tensor addressing: a layout of the rows and dims that there are, whose clamp
// mode puts zeros for everything outside and reads none of it. Each load begins at its own first row, so that what a driver computes
// from strides fits 32 bits. Other rows are read element by element.
#ifndef VKATTN_MATRIX_WORKGROUP_GLSL
#define VKATTN_MATRIX_WORKGROUP_GLSL

// 0: element by element always, for devices that have no tensor addressing.
#ifndef TENSOR_LOADS
#define TENSOR_LOADS 1
#endif

MATRIX_A queries[QK_CHUNKS];
bool by_tensor;                                 // the same for the workgroup

// What an element of a matrix is: that of the tensor, or 0 outside of it, where the nearest one inside is read in its place. `d` and
// `key` are of the matrix's first row or column.
MATRIX_ELEMENT element_or_zero(bool inside, uint half_bits) { return matrix_element(inside ? half_bits : 0u); }
MATRIX_ELEMENT query_element(const in uint row, const in uint col, const in MATRIX_ELEMENT unused, const in uint d) {
    uint e = min(d + col, HEAD_DIM - 1u);
    RowPlace place = row_add(q_head(uint(b), uint(h)), q_step(uint(query_row(row))));
    return element_or_zero(first_q + int(row) < params.q_len && d + col < HEAD_DIM, q_half(place, e));
}
MATRIX_ELEMENT key_element(const in uint row, const in uint col, const in MATRIX_ELEMENT unused, const in uint d, const in int key,
                           const in int end) {
    uint e = min(d + row, HEAD_DIM - 1u);
    RowPlace place = row_add(k_first, k_step(uint(min(key + int(col), end - 1))));
    return element_or_zero(key + int(col) < end && d + row < HEAD_DIM, k_half(place, e));
}
MATRIX_ELEMENT value_element(const in uint row, const in uint col, const in MATRIX_ELEMENT unused, const in uint d, const in int key,
                             const in int end) {
    uint e = min(d + col, VALUE_DIM - 1u);
    RowPlace place = row_add(v_first, v_step(uint(min(key + int(row), end - 1))));
    return element_or_zero(key + int(row) < end && d + col < VALUE_DIM, v_half(place, e));
}

#if TENSOR_LOADS

#if ADDRESSING == ADDRESSING_ADDRESS
#define ROW_PART(row) (WIDE_LOW((row).bytes) & 15u)
#define TENSOR_ROW(bound, vec4s, row) Vec4Ref(ROW_ADDRESS(row)).data, 0u
#else
#define ROW_PART(row) ((row).element & 7u)
#define TENSOR_ROW(bound, vec4s, row) bound, (row).element >> ((vec4s) + 1)
#endif

// Rows of a layout must not lie in one another, and a matrix of up to 128 rows reaches less than 2^31 bytes.
bool is_addressable(RowPlace row, uint stride, uint dim) {
    return ROW_PART(row) == 0u && stride % 8u == 0u && stride >= dim && stride < 1u << 23;
}
bool are_addressable() {
    return is_addressable(q_head(uint(b), uint(h)), params.q.stride_l, HEAD_DIM) && is_addressable(k_first, params.k.stride_l, HEAD_DIM) &&
           is_addressable(v_first, params.v.stride_l, VALUE_DIM);
}

// `rows` rows of `dim` elements from a place on, of which a matrix has `height` rows and `width` elements from `d` on.
#define MATRIX_LAYOUT(rows, stride, dim, height, d, width) \
    sliceTensorLayoutNV(setTensorLayoutStrideNV(setTensorLayoutDimensionNV(createTensorLayoutNV(2, gl_CooperativeMatrixClampModeConstantNV), \
                                                                           uint(clamp(rows, 0, int(height))), dim), \
                                                stride, 1u), 0, height, d, width)

#else
bool are_addressable() { return false; }
#endif

MATRIX_A load_queries(uint d) {
    MATRIX_A loaded = MATRIX_A(MATRIX_ELEMENT(0.0));
#if TENSOR_LOADS
    if (by_tensor) {
        RowPlace row = row_add(q_head(uint(b), uint(h)), q_step(uint(first_q)));
        coopMatLoadTensorNV(loaded, TENSOR_ROW(q_data, Q_VEC4, row),
                            MATRIX_LAYOUT(params.q_len - first_q, params.q.stride_l, HEAD_DIM, MATRIX_M, d, MATRIX_K));
        return loaded;
    }
#endif
    coopMatPerElementNV(loaded, loaded, query_element, d);
    return loaded;
}

// Keys are columns.
MATRIX_B load_keys(int key, int end, uint d) {
    MATRIX_B loaded = MATRIX_B(MATRIX_ELEMENT(0.0));
#if TENSOR_LOADS
    if (by_tensor) {
        RowPlace row = row_add(k_first, k_step(uint(key)));
        coopMatLoadTensorNV(loaded, TENSOR_ROW(k_data, K_VEC4, row),
                            MATRIX_LAYOUT(end - key, params.k.stride_l, HEAD_DIM, MATRIX_N, d, MATRIX_K), createTensorViewNV(2, false, 1, 0));
        return loaded;
    }
#endif
    coopMatPerElementNV(loaded, loaded, key_element, d, key, end);
    return loaded;
}

MATRIX_B load_values(int key, int end, uint d) {
    MATRIX_B loaded = MATRIX_B(MATRIX_ELEMENT(0.0));
#if TENSOR_LOADS
    if (by_tensor) {
        RowPlace row = row_add(v_first, v_step(uint(key)));
        coopMatLoadTensorNV(loaded, TENSOR_ROW(v_data, V_VEC4, row),
                            MATRIX_LAYOUT(end - key, params.v.stride_l, VALUE_DIM, MATRIX_K, d, MATRIX_N));
        return loaded;
    }
#endif
    coopMatPerElementNV(loaded, loaded, value_element, d, key, end);
    return loaded;
}

void take_queries() {
    by_tensor = are_addressable();
    [[unroll]] for (uint c = 0u; c < QK_CHUNKS; c++) queries[c] = load_queries(c * MATRIX_K);
}

void multiply_qk(int kv, int end) {
    [[unroll]] for (uint t = 0u; t < SCORE_MATRICES; t++) {
        scores[t] = MATRIX_ACC(0.0);
        [[unroll]] for (uint c = 0u; c < QK_CHUNKS; c++)
            scores[t] = coopMatMulAdd(queries[c], load_keys(kv + int(t * MATRIX_N), end, c * MATRIX_K), scores[t]);
    }
}

void multiply_pv(int kv, int end) {
    [[unroll]] for (uint key = 0u; key < STEP_KEYS; key += MATRIX_K) {
        MATRIX_A weights = step_weights(key);
        [[unroll]] for (uint j = 0u; j < ACC_MATRICES; j++)
            acc[j] = coopMatMulAdd(weights, load_values(kv + int(key), end, j * MATRIX_N), acc[j]);
    }
}

#endif
