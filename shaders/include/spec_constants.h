// Specialization constants: one list, read by C++ and GLSL. SPEC(id, name, default). Defaults fit Vulkan's minima
// (16 KiB shared memory, 128 invocations). Include it with SPEC defined; it undefines SPEC again.
//
// WORKGROUP_SIZE is local_size_x. HEAD_DIM and VALUE_DIM are D and Dv in elements, any value from 1 to 576.
SPEC(0, WORKGROUP_SIZE, 64)
SPEC(1, HEAD_DIM, 64)
SPEC(2, VALUE_DIM, 64)
// How the kernel learns which keys to visit: SCHEDULE_DENSE 0, SCHEDULE_INTERVAL 1, SCHEDULE_LIST 2, SCHEDULE_INDICES 3
// (block_walk.glsl).
SPEC(3, SCHEDULE, 0)
// Keys a step of the rows and matrix kernels; keys staged at once of V in the tiles kernel.
SPEC(4, STEP_KEYS, 8)
// attention_tiles: threads along the keys of a tile, and the rows x keys that one thread owns. attention_decode: THREADS_X
// invocations share a key, and each owns some of its elements.
SPEC(5, THREADS_X, 8)
SPEC(6, MICRO_ROWS, 2)
SPEC(7, MICRO_COLS, 4)
// Rows of one dispatch's query tile (attention_tiles: (WORKGROUP_SIZE / THREADS_X) * MICRO_ROWS).
SPEC(8, TILE_ROWS, 64)
// Query heads whose rows share a tile, TILE_ROWS / HEADS_PER_TILE rows each; they share a key head, too (tile_rows.glsl).
SPEC(9, HEADS_PER_TILE, 1)
// Parts into which the keys of a tile are cut (block_walk.glsl). 1: none, except that attention_decode writes its partials always.
SPEC(10, SPLITS, 1)
// attention_decode: 1 where all invocations load the same words and keep their own, which software devices turn into one vector
// load; 0 where each loads its own.
SPEC(11, UNIFORM_LOADS, 0)
// merge_splits: 1 when scores went through a score mod and so are in units of exp, not exp2.
SPEC(12, NATURAL_SCORES, 0)
// Matrix kernels: the shape of a matrix, and the invocations that hold one: a subgroup or, with WORKGROUP_MATRICES, the workgroup.
// All powers of two, MATRIX_* multiples of 8.
SPEC(16, MATRIX_M, 16)
SPEC(17, MATRIX_N, 8)
SPEC(18, MATRIX_K, 8)
SPEC(19, SCOPE_SIZE, 16)
// Elements of a row of k, and of v, that are staged at once; multiples of MATRIX_K, and of MATRIX_N * VALUE_SPLIT. With
// WORKGROUP_MATRICES nothing is staged: MATRIX_K and MATRIX_N.
SPEC(20, QK_CHUNK, 64)
SPEC(21, VALUE_CHUNK, 64)
#undef SPEC
