// The smallest user of an installed vkattn: a mask in C++ and one in text, asked about a pair; and the compiler, if built.
#include <vkattn/engine.h>
#include <vkattn/evaluate.h>
#include <vkattn/mask.h>
#include <vkattn/named.h>

#include <cstdio>

int main() {
    const vkattn::Mask described = vkattn::causal() && vkattn::sliding_window(3);
    const vkattn::Result<vkattn::Mask> written = vkattn::parse_mask("q >= kv && q - kv <= 3");
    if (!written) {
        std::fprintf(stderr, "%s\n", written.status().message.c_str());
        return 1;
    }
    vkattn::Shape shape;
    shape.q_len = shape.kv_len = 8;
    auto by_tracing = vkattn::Evaluator::make(described, shape), by_text = vkattn::Evaluator::make(*written, shape);
    if (!by_tracing || !by_text) return 1;
    for (int kv = 0; kv < 8; ++kv) {
        const bool attends = by_text->mask(0, 0, 5, kv);
        if (by_tracing->mask(0, 0, 5, kv) != attends) return 1;
        std::printf("%c", attends ? '#' : '.');
    }
    const auto engine = vkattn::Engine::create({});  // no device: an error, not a crash
    std::printf("\nwithout a device: %s\n", engine.status().message.c_str());
    return engine ? 1 : 0;
}
