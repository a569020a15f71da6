// A library to preload before libnouveau_noop_drm_shim.so, which pretends GPUs up to Ampere: turns its answers into a newer GPU's,
// so that Mesa's NVK gives the real physical device and compiles for it. Nouveau's interface: the headers in libdrm-dev.
//
//   NOUVEAU_CHIPSET=172 PRETEND_NVIDIA=ada|blackwell
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <dlfcn.h>
#include <linux/types.h>
#include <sys/types.h>

#define class class_of_object  // a C header
#include <nouveau_drm.h>
#undef class
#include <xf86drm.h>

#include <nouveau/nvif/cl0080.h>
#include <nouveau/nvif/ioctl.h>

namespace {

// Class numbers as NVIDIA publishes them (open-gpu-doc); the last two hex digits say what a class is for.
struct Gpu {
    const char* key;
    uint16_t chipset;
    int32_t graphics, compute, copy, inline_to_memory;
};
constexpr Gpu gpus[] = {
    {"ada", 0x192, 0xc997, 0xc9c0, 0xc7b5, 0xa140},
    {"blackwell", 0x1b2, 0xce97, 0xcec0, 0xcab5, 0xcd40},
};

const Gpu& gpu() {
    static const Gpu* chosen = [] {
        const char* wanted = std::getenv("PRETEND_NVIDIA");
        for (const Gpu& one : gpus)
            if (wanted != nullptr && std::strcmp(one.key, wanted) == 0) return &one;
        std::fprintf(stderr, "pretend_newer_nvidia: PRETEND_NVIDIA names none of its GPUs\n");
        std::_Exit(2);
    }();
    return *chosen;
}

int32_t newer_class(int32_t ampere) {
    switch (ampere & 0xff) {
    case 0x97: return gpu().graphics;
    case 0xc0: return gpu().compute;
    case 0xb5: return gpu().copy;
    case 0x40: return gpu().inline_to_memory;
    default: return ampere;
    }
}

void change(unsigned long request, void* argument) {
    const unsigned long number = _IOC_NR(request);
    if (number == DRM_COMMAND_BASE + DRM_NOUVEAU_GETPARAM) {
        auto& asked = *static_cast<drm_nouveau_getparam*>(argument);
        if (asked.param == NOUVEAU_GETPARAM_CHIPSET_ID) asked.value = gpu().chipset;
    }
    if (number != DRM_COMMAND_BASE + DRM_NOUVEAU_NVIF) return;
    auto& call = *static_cast<nvif_ioctl_v0*>(argument);
    if (call.type == NVIF_IOCTL_V0_SCLASS) {
        auto& classes = *reinterpret_cast<nvif_ioctl_sclass_v0*>(call.data);
        for (int i = 0; i < classes.count; i++) classes.oclass[i].oclass = newer_class(classes.oclass[i].oclass);
    } else if (call.type == NVIF_IOCTL_V0_MTHD) {
        auto& method = *reinterpret_cast<nvif_ioctl_mthd_v0*>(call.data);
        if (method.method == NV_DEVICE_V0_INFO)
            reinterpret_cast<nv_device_info_v0*>(method.data)->chipset = gpu().chipset;
    }
}

}  // namespace

extern "C" int ioctl(int fd, unsigned long request, void* argument) noexcept {
    using Ioctl = int (*)(int, unsigned long, void*);
    static const auto next = reinterpret_cast<Ioctl>(dlsym(RTLD_NEXT, "ioctl"));
    const int result = next(fd, request, argument);
    if (result == 0 && _IOC_TYPE(request) == DRM_IOCTL_BASE) change(request, argument);
    return result;
}
