// The words a caller uses to state a problem.
#pragma once

#include <cstdint>
#include <string_view>

namespace vkattn {

enum class ElementType : uint8_t { f32, f16, bf16 };
constexpr uint32_t element_bytes(ElementType type) { return type == ElementType::f32 ? 4u : 2u; }

// Which kernel family computes. `automatic` chooses and reports why; an explicit request never falls back silently.
// khr: matrix units by VK_KHR_cooperative_matrix, for q, k and v of one 16-bit type. Weights are rounded to that type (docs/design.md).
// nv: the same with softmax in registers by VK_NV_cooperative_matrix2, on request only; where the device has them enabled
// (Features::workgroup_matrices), on matrices that a whole workgroup holds, loaded by tensor addressing.
enum class Path : uint8_t { automatic, scalar, khr, nv };

// How the kernel learns which keys to visit (design.md, section 4).
enum class Schedule : uint8_t { automatic, dense, interval, list };

// How block lists lie in the tables buffer. runs: runs of neighbouring blocks, compact and fastest. indices: PyTorch's arrays of counts
// and columns, in any order, which the device itself can make or change between two calls.
enum class ListEncoding : uint8_t { runs, indices };

// How kernels reach buffers: by device address (fast on software devices, no range limit) or through descriptors.
enum class Addressing : uint8_t { automatic, address, binding };

// Which skeleton of the scalar path: a query row per invocation (software devices), shared-memory tiles (GPUs), or, for few query rows a key
// head, invocations that share a key between them, so that it is read once for all rows (decoding; needs subgroup shuffles).
enum class Skeleton : uint8_t { automatic, rows, tiles, decode };

// Whether k and v are first copied to aligned f32 rows in the workspace, so that attention decodes nothing in its inner loops.
// Exact; one more dispatch, 4 (D + Dv) bytes of workspace a key. `automatic` does it on software devices, where decoding costs more
// than arithmetic, for 16-bit or unaligned k and v that enough queries share.
enum class Widen : uint8_t { automatic, off, on };

std::string_view to_string(ElementType type);
std::string_view to_string(Path path);
std::string_view to_string(Schedule schedule);
std::string_view to_string(ListEncoding encoding);
std::string_view to_string(Addressing addressing);
std::string_view to_string(Skeleton skeleton);
std::string_view to_string(Widen widen);

}  // namespace vkattn
