#include "dependence.h"

namespace vkattn::detail {

std::vector<uint8_t> dependence(const std::vector<Node>& nodes) {
    std::vector<uint8_t> sets(nodes.size(), 0);
    for (size_t i = 0; i < nodes.size(); ++i) {
        const Node& node = nodes[i];
        if (node.op == Op::b) sets[i] = on_b;
        if (node.op == Op::h) sets[i] = on_h;
        if (node.op == Op::q) sets[i] = on_q;
        if (node.op == Op::kv) sets[i] = on_kv;
        if (node.op == Op::score) sets[i] = on_score;
        for (uint8_t a = 0; a < node.n_args; ++a) {
            sets[i] = static_cast<uint8_t>(sets[i] | sets[static_cast<size_t>(node.args[a])]);
        }
    }
    return sets;
}

Level level(uint8_t depends) {
    if ((depends & on_score) != 0) return Level::pair;
    if ((depends & on_kv) == 0) return Level::row;
    return (depends & on_q) != 0 ? Level::pair : Level::column;
}

}  // namespace vkattn::detail
