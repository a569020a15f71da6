// Lookups in the tables buffer for masks and score mods. A table is row-major; every index is clamped to its dimension.
// Needs TableInfo (params.h) and uint tables_word(uint word_index).
//
// A slice is one row of the last dimension. It is taken apart from the element because the other indices of a lookup often
// depend on the query row alone: bias[h, kv - q] costs one clamp and one load an element.
// Offsets are uint: a table has at most 2^32 - 1 elements.
#ifndef VKATTN_MASK_TABLES_GLSL
#define VKATTN_MASK_TABLES_GLSL

struct TableSlice {
    uint offset_words;      // of the table
    uint first;             // element of the table that is index 0 of the slice
    int last;               // highest index
};

// Also defined for dim 0 (clamp() is not): a table may be empty where there are no pairs.
int table_clamp(int index, int dim) { return max(min(index, dim - 1), 0); }

TableSlice table_slice(TableInfo t) { return TableSlice(t.offset_words, 0u, t.dim0 - 1); }
TableSlice table_slice(TableInfo t, int i0) {
    return TableSlice(t.offset_words, uint(table_clamp(i0, t.dim0)) * uint(t.dim1), t.dim1 - 1);
}
TableSlice table_slice(TableInfo t, int i0, int i1) {
    uint row = uint(table_clamp(i0, t.dim0)) * uint(t.dim1) + uint(table_clamp(i1, t.dim1));
    return TableSlice(t.offset_words, row * uint(t.dim2), t.dim2 - 1);
}
TableSlice table_slice(TableInfo t, int i0, int i1, int i2) {
    uint plane = uint(table_clamp(i0, t.dim0)) * uint(t.dim1) + uint(table_clamp(i1, t.dim1));
    uint row = plane * uint(t.dim2) + uint(table_clamp(i2, t.dim2));
    return TableSlice(t.offset_words, row * uint(t.dim3), t.dim3 - 1);
}

uint table_element(TableSlice s, int index) { return s.first + uint(max(min(index, s.last), 0)); }

int table_i32(TableSlice s, int index) { return int(tables_word(s.offset_words + table_element(s, index))); }
float table_f32(TableSlice s, int index) { return uintBitsToFloat(tables_word(s.offset_words + table_element(s, index))); }
// One byte an element, four to a word.
bool table_bool(TableSlice s, int index) {
    uint element = table_element(s, index);
    uint word = tables_word(s.offset_words + (element >> 2));
    return ((word >> ((element & 3u) * 8u)) & 0xffu) != 0u;
}

#endif
