// A start-up self-test for hosts that want it: does this driver compute attention right, and if not, what must be left out? Tiny cases
// on every rung of a ladder of paths are held against reference_attention; the host submits.
//
// The ladder: nv with matrices of workgroups, nv, khr (matrix units), scalar with subgroup operations, scalar without, and the last one through descriptors only; rungs
// that need what the host has not enabled are left out. A rung's cases: causal in f32 at D 64, a causal window within documents in f16
// at D 40, soft-capped in bf16 at D 24 (matrix units take no f32, and bf16 only where the device has it), four heads on two, each with
// 1, 7, 16 and 33 queries x 1, 16, 40 and 70 keys; with subgroup operations also 1 query as the decode kernel takes it; all of that
// through descriptors and, where enabled, device addresses. 456 cases with everything enabled, 48 with nothing.
//
// A case is right when each of its rows is within the tolerance of docs/design.md, "Semantics", with eight times its allowance for f32
// arithmetic: Vulkan asks less precision of exp2 and division than the CPU has on which that tolerance rests. vkattn-conformance holds
// devices to the tolerance itself, over many more masks, types and sizes.
//
//   auto test = SelfTest::create(host, options);       // plans the cases; any thread
//   if (!test->verdict()) {                            // none is known of this device, driver and library
//       test->bind(buffer);                            // buffer_bytes() long, host-visible; STORAGE, TRANSFER_DST and, where
//       test->write(mapped);                           // device addresses are enabled, SHADER_DEVICE_ADDRESS
//       test->record(command_buffer);                  // then submit, wait, and make the buffer visible to the host
//       test->judge(mapped);
//   }
//   host.enabled = test->verdict()->usable;            // for Engine::create
//
// Verdicts are kept in EngineOptions::cache_directory under the driver's UUID and version.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vkattn/engine.h"

namespace vkattn {

struct SelfTestVerdict {
    std::string path;                  // the highest rung without a wrong case; empty: there is none
    Features usable;                   // what it runs with, for HostDevice::enabled
    std::vector<std::string> reasons;  // a line a rung: how many cases are right, and which one is wrong first
};

// Not thread-safe. Outlives the execution of what it recorded.
class SelfTest {
  public:
    // Errors: those of Engine::create and Engine::plan.
    static Result<SelfTest> create(const HostDevice& host, const EngineOptions& options = {});
    SelfTest(SelfTest&&) noexcept;
    SelfTest& operator=(SelfTest&&) noexcept;
    ~SelfTest();

    const std::optional<SelfTestVerdict>& verdict() const;
    uint64_t buffer_bytes() const;
    Status bind(VkBuffer buffer);                // from its start; before record
    void write(std::span<uint8_t> bytes) const;  // all buffer_bytes(): inputs, and results that are not there yet
    void record(VkCommandBuffer command_buffer) const;             // as Plan::record; nothing before bind
    const SelfTestVerdict& judge(std::span<const uint8_t> bytes);  // all buffer_bytes()

  private:
    struct Impl;
    explicit SelfTest(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace vkattn
