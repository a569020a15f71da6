// Features: what a device offers and a host enabled, and what the engine uses of both.
#include <doctest/doctest.h>

#include "vkattn/device.h"

using vkattn::Features;
using vkattn::usable;

namespace {

// What a host enables, each after what it builds upon.
constexpr bool Features::*fields[] = {
    &Features::buffer_device_address,  &Features::int64_addresses,    &Features::subgroup_size_control,
    &Features::required_subgroup_size, &Features::scalar_subgroup,    &Features::cooperative_matrix,
    &Features::cooperative_matrix2,    &Features::workgroup_matrices, &Features::matrix_bf16};
constexpr uint32_t n_fields = sizeof fields / sizeof fields[0];

Features features_of(uint32_t bits) {
    Features features;
    for (uint32_t i = 0; i < n_fields; i++) features.*fields[i] = (bits >> i & 1u) != 0;
    return features;
}

uint32_t bits_of(const Features& features) {
    uint32_t bits = 0;
    for (const auto field : fields) bits = 2 * bits + (features.*field ? 1u : 0u);
    return bits;
}

}  // namespace

TEST_CASE("features: what is used is offered, enabled, and has what it builds upon") {
    uint32_t wrong = 0;
    for (uint32_t offered = 0; offered < 1u << n_fields; offered++)
        for (uint32_t enabled = 0; enabled < 1u << n_fields; enabled++) {
            const Features both = features_of(offered & enabled);
            const Features used = usable(features_of(offered), features_of(enabled));
            Features wanted = both;
            if (!both.subgroup_size_control) wanted.required_subgroup_size = wanted.cooperative_matrix = false;
            if (!wanted.cooperative_matrix) wanted.cooperative_matrix2 = wanted.matrix_bf16 = false;
            if (!wanted.cooperative_matrix2) wanted.workgroup_matrices = false;
            if (bits_of(used) != bits_of(wanted)) wrong++;
        }
    CHECK(wrong == 0);

    Features property, label;
    property.preserve_nan_f32 = label.debug_utils = true;
    CHECK(usable(property, {}).preserve_nan_f32);
    CHECK_FALSE(usable({}, property).preserve_nan_f32);
    CHECK(usable({}, label).debug_utils);
    CHECK_FALSE(usable(label, {}).debug_utils);
}
