// The smallest user of an installed vkattn: describes a mask in text and in C++, and prints it.
#include <vkattn/engine.h>
#include <vkattn/mask.h>

#include <cstdio>
#include <string>

int main() {
    const auto mask = vkattn::parse_mask("causal && doc[q] == doc[kv]");
    if (!mask) {
        std::printf("%s\n", mask.error().message.c_str());
        return 1;
    }
    std::printf("a path is called %s\n", std::string(vkattn::to_string(vkattn::Path::scalar)).c_str());
    return 0;
}
