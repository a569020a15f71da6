// The device's memory limit: one pass over a buffer far larger than its caches, read only or copied.
//
// A workgroup takes a piece of its own and walks it with all invocations side by side. What was read is summed up and stored once
// an invocation, so that no load is dropped. Tensors: source, target [n] uvec4, sums [invocations] (the start of target when only
// reading). Grid: 1-D, n / (local size * loads) workgroups.
#version 450
#ifdef ADDRESS
#extension GL_EXT_buffer_reference : require
#endif

layout(local_size_x = 64) in;
layout(constant_id = 0) const bool copy = false;

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
    uint loads; // of each invocation
};

void main() {
    const uint step = gl_WorkGroupSize.x;
    const uint first = gl_WorkGroupID.x * step * loads + gl_LocalInvocationIndex;
    if (copy) {
        for (uint i = 0; i < loads; i++) target.at[first + i * step] = source.at[first + i * step];
        return;
    }
    uvec4 sum = uvec4(0);
    for (uint i = 0; i < loads; i++) sum += source.at[first + i * step];
    target.at[gl_GlobalInvocationID.x] = sum;
}
