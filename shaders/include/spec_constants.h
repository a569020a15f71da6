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
// Keys a step of the rows kernel; keys staged at once of V in the tiles kernel.
SPEC(4, STEP_KEYS, 8)
// attention_tiles: threads along the keys of a tile, and the rows x keys that one thread owns.
SPEC(5, THREADS_X, 8)
SPEC(6, MICRO_ROWS, 2)
SPEC(7, MICRO_COLS, 4)
// Rows of one dispatch's query tile and keys of one step (attention_tiles: (WORKGROUP_SIZE / THREADS_X) * MICRO_ROWS).
SPEC(8, TILE_ROWS, 64)
#undef SPEC
