#include "vkattn/types.h"

namespace vkattn {

std::string_view to_string(ElementType type) {
    switch (type) {
    case ElementType::f32: return "f32";
    case ElementType::f16: return "f16";
    case ElementType::bf16: return "bf16";
    }
    return "?";
}

std::string_view to_string(Path path) {
    switch (path) {
    case Path::automatic: return "auto";
    case Path::scalar: return "scalar";
    case Path::khr: return "khr";
    case Path::nv: return "nv";
    }
    return "?";
}

std::string_view to_string(Schedule schedule) {
    switch (schedule) {
    case Schedule::automatic: return "auto";
    case Schedule::dense: return "dense";
    case Schedule::interval: return "interval";
    case Schedule::list: return "list";
    }
    return "?";
}

std::string_view to_string(ListEncoding encoding) {
    switch (encoding) {
    case ListEncoding::runs: return "runs";
    case ListEncoding::indices: return "indices";
    }
    return "?";
}

std::string_view to_string(Addressing addressing) {
    switch (addressing) {
    case Addressing::automatic: return "auto";
    case Addressing::address: return "address";
    case Addressing::binding: return "binding";
    }
    return "?";
}

std::string_view to_string(Skeleton skeleton) {
    switch (skeleton) {
    case Skeleton::automatic: return "auto";
    case Skeleton::rows: return "rows";
    case Skeleton::tiles: return "tiles";
    case Skeleton::decode: return "decode";
    }
    return "?";
}

std::string_view to_string(Widen widen) {
    switch (widen) {
    case Widen::automatic: return "auto";
    case Widen::off: return "off";
    case Widen::on: return "on";
    }
    return "?";
}

}  // namespace vkattn
