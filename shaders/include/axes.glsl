// The preprocessor axes of a module and their defaults, so that each .comp compiles alone. The engine defines all of them.
#ifndef VKATTN_AXES_GLSL
#define VKATTN_AXES_GLSL

#extension GL_EXT_control_flow_attributes : require

// How buffers are reached. address: 64-bit device addresses, set by AttentionParams; binding: descriptor set 0.
#define ADDRESSING_BINDING 0
#define ADDRESSING_ADDRESS 1
#ifndef ADDRESSING
#define ADDRESSING ADDRESSING_BINDING
#endif
// 1: addresses are computed as 64-bit integers; 0: as pairs of words, since some devices have no 64-bit integers.
#ifndef ADDRESS_INT64
#define ADDRESS_INT64 0
#endif
#if ADDRESSING == ADDRESSING_ADDRESS
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#if ADDRESS_INT64
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
#endif
#endif

// Storage types. 16-bit elements are read as packed 32-bit words, so no 16-bit storage feature is needed.
#define TYPE_F32 0
#define TYPE_F16 1
#define TYPE_BF16 2
#ifndef Q_TYPE
#define Q_TYPE TYPE_F32
#endif
#ifndef K_TYPE
#define K_TYPE TYPE_F32
#endif
#ifndef V_TYPE
#define V_TYPE TYPE_F32
#endif
#ifndef O_TYPE
#define O_TYPE TYPE_F32
#endif

// Alignment class of a tensor. 1: address, base and strides are multiples of four elements, so that four elements are one
// load (16 bytes f32, 8 bytes 16-bit); the dim itself may be anything. 0: element by element.
#ifndef Q_VEC4
#define Q_VEC4 1
#endif
#ifndef K_VEC4
#define K_VEC4 1
#endif
#ifndef V_VEC4
#define V_VEC4 1
#endif
#ifndef O_VEC4
#define O_VEC4 1
#endif

// 1: attention_tiles reduces rows by subgroup shuffles (THREADS_X <= subgroup size, full subgroups), attention_rows joins the key
// ranges of a subgroup's rows by subgroup arithmetic. 0: through shared memory, and row by row for the whole tile.
#ifndef SUBGROUP_REDUCE
#define SUBGROUP_REDUCE 0
#endif
#if SUBGROUP_REDUCE
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_shuffle : require
#endif

// Whose matrices attention_nv multiplies. 1: the workgroup's, which come from the tensors; 0: a subgroup's, staged in shared memory.
#ifndef WORKGROUP_MATRICES
#define WORKGROUP_MATRICES 0
#endif

#endif
