// Where splits leave their part of a row: [B, Hq, Lq, SPLITS] f32 in the workspace (params.work), each
//   acc        4 * VALUE_GROUPS elements, not normalised
//   row_max    as online_softmax.glsl has it
//   row_sum    relative to row_max; 0: the split attends to nothing; NaN: it attends to a score of +inf or NaN
// and two elements that nobody reads.
#ifndef VKATTN_PARTIALS_GLSL
#define VKATTN_PARTIALS_GLSL

const uint PARTIAL_STATE = 4u * ((VALUE_DIM + 3u) / 4u);
const uint PARTIAL_ELEMS = PARTIAL_STATE + 4u;

uint partial_index(int b, int h, int q, uint split) {
    return (uint(b * params.q_heads + h) * uint(params.q_len) + uint(q)) * SPLITS + split;
}

#if ADDRESSING == ADDRESSING_ADDRESS
RowPlace partial_place(int b, int h, int q, uint split) {
    return row_add(head_place(params.work, 0u, 0u, 0u, 2u), row_step(partial_index(b, h, q, split), PARTIAL_ELEMS, 2u));
}
#define PARTIAL(place, e) FloatRef(ROW_ADDRESS(place)).data[e]
#else
layout(std430, set = 0, binding = 5) buffer WorkBuffer { float work_data[]; };
RowPlace partial_place(int b, int h, int q, uint split) { return RowPlace(partial_index(b, h, q, split) * PARTIAL_ELEMS); }
#define PARTIAL(place, e) work_data[(place).element + (e)]
#endif

void partial_store(RowPlace place, uint group, vec4 value) {
    PARTIAL(place, 4u * group) = value.x;
    PARTIAL(place, 4u * group + 1u) = value.y;
    PARTIAL(place, 4u * group + 2u) = value.z;
    PARTIAL(place, 4u * group + 3u) = value.w;
}

void partial_store_state(RowPlace place, float row_max, float row_sum) {
    PARTIAL(place, PARTIAL_STATE) = row_max;
    PARTIAL(place, PARTIAL_STATE + 1u) = row_sum;
}

vec4 partial_group(RowPlace place, uint group) {
    return vec4(PARTIAL(place, 4u * group), PARTIAL(place, 4u * group + 1u), PARTIAL(place, 4u * group + 2u),
                PARTIAL(place, 4u * group + 3u));
}

#endif
