#include "explain.h"

#include <algorithm>
#include <array>
#include <bit>

#include "command.h"
#include "vkattn/evaluate.h"

namespace vkattn::cli {
namespace {

constexpr size_t max_lines = 48;  // beyond, an explanation explains nothing
constexpr size_t max_term_bytes = 160;

std::string value_text(Type type, uint32_t bits) {
    switch (type) {
    case Type::boolean: return bits != 0 ? "true" : "false";
    case Type::i32: return std::to_string(static_cast<int32_t>(bits));
    case Type::f32: {
        char text[32];
        std::snprintf(text, sizeof text, "%g", static_cast<double>(std::bit_cast<float>(bits)));
        return text;
    }
    }
    return "";
}

class Explanation {
  public:
    Explanation(const Tree& tree, const Evaluator& evaluator) : tree_(tree), evaluator_(evaluator) {}

    // Terms in reading order, the connectives above their terms. A work list stands for recursion: masks may be deep.
    std::string lines() {
        struct Item {
            int32_t node;
            size_t depth;
            bool decides;
        };
        std::vector<Item> work = {{static_cast<int32_t>(tree_.nodes.size()) - 1, 0, true}};
        size_t n_lines = 0;
        while (!work.empty()) {
            const Item item = work.back();
            work.pop_back();
            if (++n_lines > max_lines) {
                text_ += "  ... and more terms\n";
                break;
            }
            const Op op = tree_.nodes[static_cast<size_t>(item.node)].op;
            const bool value = truth(item.node);
            if (op != Op::logical_and && op != Op::logical_or) {
                add_line(item.depth, item.decides, value, term_text(item.node));
                continue;
            }
            add_line(item.depth, false, value, op == Op::logical_and ? "all of" : "one of");
            // What makes an && false are its false terms, what makes it true are all of them; with || it is the other way round.
            const bool all_decide = value == (op == Op::logical_and);
            const std::vector<int32_t> terms = chain(item.node, op);
            for (auto term = terms.rbegin(); term != terms.rend(); ++term)
                work.push_back({*term, item.depth + 1, item.decides && (all_decide || truth(*term) == value)});
        }
        return text_;
    }

  private:
    bool truth(int32_t node) const { return evaluator_.node_bits(node) != 0; }

    // The terms of a chain of one connective, in order: a && b && c are three.
    std::vector<int32_t> chain(int32_t node, Op op) const {
        std::vector<int32_t> terms, work = {node};
        while (!work.empty() && terms.size() <= max_lines) {
            const int32_t at = work.back();
            work.pop_back();
            const Node& inner = tree_.nodes[static_cast<size_t>(at)];
            if (inner.op == op) {
                work.push_back(inner.args[1]);
                work.push_back(inner.args[0]);
            } else if (std::find(terms.begin(), terms.end(), at) == terms.end()) {  // a shared term is told once
                terms.push_back(at);
            }
        }
        return terms;
    }

    // "q - kv <= 200   (300 <= 200)"
    std::string term_text(int32_t node) const {
        auto text = to_text(tree_, node);
        std::string line = text ? *text : "(a long term)";
        if (line.size() > max_term_bytes) line = line.substr(0, max_term_bytes) + "...";
        const Node& term = tree_.nodes[static_cast<size_t>(node)];
        const char* sign = term.op == Op::lt   ? "<"
                           : term.op == Op::le ? "<="
                           : term.op == Op::eq ? "=="
                           : term.op == Op::ne ? "!="
                                               : nullptr;
        if (sign == nullptr) return line;
        std::array<std::string, 2> sides;
        for (size_t i = 0; i < 2; i++) {
            const auto at = static_cast<size_t>(term.args[i]);
            sides[i] = value_text(tree_.nodes[at].type, evaluator_.node_bits(term.args[i]));
        }
        return line + "   (" + sides[0] + " " + sign + " " + sides[1] + ")";
    }

    void add_line(size_t depth, bool decides, bool value, const std::string& term) {
        const std::string mark = !decides                                              ? "    "
                                 : truth(static_cast<int32_t>(tree_.nodes.size()) - 1) ? "  + "
                                                                                       : "  - ";
        text_ +=
            mark + (value ? "true   " : "false  ") + std::string(2 * std::min<size_t>(depth, 20), ' ') + term + "\n";
    }

    const Tree& tree_;
    const Evaluator& evaluator_;
    std::string text_;
};

}  // namespace

Result<Pair> parse_pair(std::string_view text, const Shape& shape) {
    const auto parts = split(text, ',');
    if (parts.size() != 4)
        return error(Code::invalid_argument, "'" + std::string(text) + "': b,h,q,kv is wanted, as in 0,0,900,600");
    Pair pair;
    const struct {
        const char* name;
        int32_t* value;
        int32_t length;
    } indices[] = {{"b", &pair.b, shape.batch},
                   {"h", &pair.h, shape.q_heads},
                   {"q", &pair.q, shape.q_len},
                   {"kv", &pair.kv, shape.kv_len}};
    for (size_t i = 0; i < 4; i++) {
        if (indices[i].length == 0)
            return error(Code::invalid_argument, std::string("there is no ") + indices[i].name + ": its length is 0");
        auto value = parse_integer(parts[i], 0, int64_t{indices[i].length} - 1);
        if (!value) return about(indices[i].name, value.status());
        *indices[i].value = static_cast<int32_t>(*value);
    }
    return pair;
}

Result<std::string> explain(const Mask& mask, const Shape& shape, const Bindings& bindings, const Pair& pair) {
    auto evaluator = Evaluator::make(mask, shape, bindings);
    if (!evaluator) return evaluator.status();
    const bool attends = evaluator->mask(pair.b, pair.h, pair.q, pair.kv);
    std::string text = "b " + std::to_string(pair.b) + ", h " + std::to_string(pair.h) + ": q " +
                       std::to_string(pair.q) + (attends ? " attends to kv " : " does not attend to kv ") +
                       std::to_string(pair.kv) + (attends ? "; what lets it through (+):\n" : "; what stops it (-):\n");
    return text + Explanation(mask.tree(), *evaluator).lines();
}

}  // namespace vkattn::cli
