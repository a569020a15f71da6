// The device's memory limit: one pass over a buffer far larger than its caches, read or copied.
//
// A workgroup takes a piece of its own. `walk` says how: side by side (neighbouring invocations load neighbouring words, as GPUs want
// it), together (all invocations load the same words one after the other, which software devices turn into plain loads instead of
// a gather a lane) or shared (the same, but each invocation keeps a word of its own, which lavapipe turns into vector loads; the
// workgroup is a subgroup). What was read is summed up and stored, so that no load is dropped.
// Tensors: source, target [n] uvec4; reading only, target is [invocations]. Grid: 1-D, n / piece workgroups.
#version 450
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#ifdef ADDRESS
#extension GL_EXT_buffer_reference : require
#endif

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint walk = 0;
const uint walk_side_by_side = 0, walk_together = 1, walk_copy = 2, walk_shared = 3;

#ifdef ADDRESS
layout(buffer_reference, std430, buffer_reference_align = 16) buffer Words { uvec4 at[]; };
#else
layout(set = 0, binding = 0, std430) readonly buffer Source { uvec4 at[]; } source;
layout(set = 0, binding = 1, std430) writeonly buffer Target { uvec4 at[]; } target;
#endif
layout(push_constant) uniform Push {
#ifdef ADDRESS
    Words source, target;
#else
    uvec4 unused;
#endif
    uint piece; // uvec4 of a workgroup, a multiple of its size and of `unrolled`
};

const uint unrolled = 32;

void main() {
    const uint first = gl_WorkGroupID.x * piece;
    uvec4 sum = uvec4(0);
    if (walk == walk_together) {
        for (uint i = first; i < first + piece; i += unrolled) {
            [[unroll]] for (uint j = 0; j < unrolled; j++) sum += source.at[i + j];
        }
    } else if (walk == walk_shared) {
        const uint quads = gl_WorkGroupSize.x / 4;
        for (uint i = first; i < first + piece; i += unrolled) {
            [[unroll]] for (uint j = 0; j < unrolled; j += quads) {
                uint own = 0;
                [[unroll]] for (uint k = 0; k < quads; k++) {
                    const uvec4 words = source.at[i + j + k];
                    [[unroll]] for (uint w = 0; w < 4; w++) own = mix(own, words[w], gl_SubgroupInvocationID == 4 * k + w);
                }
                sum.x += own;
            }
        }
    } else {
        for (uint i = first + gl_LocalInvocationIndex; i < first + piece; i += gl_WorkGroupSize.x) {
            if (walk == walk_copy) target.at[i] = source.at[i];
            else sum += source.at[i];
        }
    }
    if (walk != walk_copy) target.at[gl_GlobalInvocationID.x] = sum;
}
