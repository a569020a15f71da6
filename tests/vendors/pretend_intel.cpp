// A library to preload: one pretended Intel GPU behind the i915 kernel interface (the kernel's uAPI headers drm.h and i915_drm.h),
// so that Mesa's ANV gives its real physical device, compiles and records. Nothing is executed: submits return, waits are over.
//
//   PRETEND_INTEL=tgl|adl|mtl|arl|dg2|lnl|bmg|ptl
//
// libdrm's list of devices is answered here, too; the device node it names is a sparse memory file that belongs to this process.
// Opened, it is told apart by its inode; buffers are ranges of it, so that mapping one is an ordinary mmap.
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <unordered_map>

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <sys/types.h>

#include <i915_drm.h>
#include <xf86drm.h>

namespace {

struct Gpu {
    const char* key;
    uint16_t pci_id;
    uint16_t slices, subslices, eus;  // subslices a slice, EUs a subslice
    bool local_memory;
};
constexpr Gpu gpus[] = {
    {"tgl", 0x9a49, 1, 6, 16, false},  // Iris Xe of Tiger Lake
    {"adl", 0x46a6, 1, 6, 16, false},  // Iris Xe of Alder Lake P
    {"mtl", 0x7d55, 2, 4, 16, false},  // Arc of Meteor Lake H
    {"arl", 0x7d51, 2, 4, 16, false},  // Arc of Arrow Lake H
    {"dg2", 0x56a0, 8, 4, 16, true},   // Arc A770
    {"lnl", 0x64a0, 2, 4, 8, false},   // Arc 140V of Lunar Lake
    {"bmg", 0xe20b, 5, 4, 8, true},    // Arc B580
    {"ptl", 0xb080, 2, 6, 8, false},   // Panther Lake
};

const Gpu& gpu() {
    static const Gpu* chosen = [] {
        const char* wanted = std::getenv("PRETEND_INTEL");
        for (const Gpu& one : gpus)
            if (wanted != nullptr && std::strcmp(one.key, wanted) == 0) return &one;
        std::fprintf(stderr, "pretend_intel: PRETEND_INTEL names none of its GPUs\n");
        std::_Exit(2);
    }();
    return *chosen;
}

constexpr uint64_t memory_bytes = uint64_t{16} << 30;
constexpr uint64_t node_bytes = uint64_t{1} << 40;  // sparse

struct Node {
    int fd = -1;
    ino_t inode = 0;
    dev_t device = 0;
    std::string path;
    std::mutex mutex;
    uint64_t next_offset = 0;
    uint32_t next_handle = 1;
    std::unordered_map<uint32_t, uint64_t> offset_of;  // buffer handle -> first byte in the node

    Node() {
        fd = memfd_create("pretend_intel", MFD_CLOEXEC);
        struct stat status {};
        if (fd < 0 || ftruncate(fd, static_cast<off_t>(node_bytes)) != 0 || fstat(fd, &status) != 0) {
            std::fprintf(stderr, "pretend_intel: no memory file\n");
            std::_Exit(2);
        }
        inode = status.st_ino;
        device = status.st_dev;
        path = "/proc/self/fd/" + std::to_string(fd);
    }
    bool is(int other) const {
        struct stat status {};
        return fstat(other, &status) == 0 && status.st_ino == inode && status.st_dev == device;
    }
    uint32_t create(uint64_t size) {
        const std::lock_guard lock(mutex);
        offset_of[next_handle] = next_offset;
        next_offset += (size + 0xffffu) / 0x10000u * 0x10000u;
        return next_handle++;
    }
};

Node& node() {
    static Node the_node;
    return the_node;
}

int fail(int error) {
    errno = error;
    return -1;
}

int get_param(const drm_i915_getparam& asked) {
    switch (asked.param) {
    case I915_PARAM_CHIPSET_ID: *asked.value = gpu().pci_id; return 0;
    case I915_PARAM_REVISION: *asked.value = 8; return 0;
    case I915_PARAM_CS_TIMESTAMP_FREQUENCY: *asked.value = 19200000; return 0;
    case I915_PARAM_MMAP_GTT_VERSION: *asked.value = 4; return 0;    // buffers are mapped by offset
    case I915_PARAM_HAS_ALIASING_PPGTT: *asked.value = 3; return 0;  // 48 bits of address a context
    case I915_PARAM_SLICE_MASK: *asked.value = (1 << gpu().slices) - 1; return 0;
    case I915_PARAM_SUBSLICE_MASK: *asked.value = (1 << gpu().subslices) - 1; return 0;
    case I915_PARAM_SUBSLICE_TOTAL: *asked.value = gpu().slices * gpu().subslices; return 0;
    case I915_PARAM_EU_TOTAL: *asked.value = gpu().slices * gpu().subslices * gpu().eus; return 0;
    case I915_PARAM_HAS_LLC: *asked.value = gpu().local_memory ? 0 : 1; return 0;
    default: *asked.value = 1; return 0;  // has it
    }
}

// The header and then, bit by bit, which slices, which subslices of each and which EUs of each are there: all.
std::string topology() {
    const auto bytes = [](uint32_t bits) { return (bits + 7) / 8; };
    const auto ones = [&](uint32_t bits) {
        std::string mask;
        for (uint32_t at = 0; at < bytes(bits); at++)
            mask += static_cast<char>(bits - at * 8 >= 8 ? 0xff : (1u << (bits - at * 8)) - 1);
        return mask;
    };
    drm_i915_query_topology_info info{};
    info.max_slices = gpu().slices;
    info.max_subslices = gpu().subslices;
    info.max_eus_per_subslice = gpu().eus;
    info.subslice_offset = static_cast<uint16_t>(bytes(gpu().slices));
    info.subslice_stride = static_cast<uint16_t>(bytes(gpu().subslices));
    info.eu_offset = static_cast<uint16_t>(info.subslice_offset + gpu().slices * info.subslice_stride);
    info.eu_stride = static_cast<uint16_t>(bytes(gpu().eus));
    std::string answer(reinterpret_cast<const char*>(&info), sizeof info);
    answer += ones(gpu().slices);
    for (int i = 0; i < gpu().slices; i++) answer += ones(gpu().subslices);
    for (int i = 0; i < gpu().slices * gpu().subslices; i++) answer += ones(gpu().eus);
    return answer;
}

std::string engines() {
    constexpr uint16_t classes[] = {I915_ENGINE_CLASS_RENDER, I915_ENGINE_CLASS_COPY};
    drm_i915_query_engine_info header{};
    header.num_engines = std::size(classes);
    std::string answer(reinterpret_cast<const char*>(&header), sizeof header);
    for (uint16_t engine_class : classes) {
        drm_i915_engine_info engine{};
        engine.engine.engine_class = engine_class;
        answer.append(reinterpret_cast<const char*>(&engine), sizeof engine);
    }
    return answer;
}

std::string memory_regions() {
    drm_i915_query_memory_regions header{};
    header.num_regions = gpu().local_memory ? 2 : 1;
    std::string answer(reinterpret_cast<const char*>(&header), sizeof header);
    for (uint32_t i = 0; i < header.num_regions; i++) {
        drm_i915_memory_region_info region{};
        region.region.memory_class = i == 0 ? I915_MEMORY_CLASS_SYSTEM : I915_MEMORY_CLASS_DEVICE;
        region.probed_size = region.unallocated_size = memory_bytes;
        region.probed_cpu_visible_size = region.unallocated_cpu_visible_size = memory_bytes;
        answer.append(reinterpret_cast<const char*>(&region), sizeof region);
    }
    return answer;
}

// The kernel's protocol: length 0 asks for the length; an item that is not known gets a negative errno as its length.
int query(const drm_i915_query& asked) {
    auto* items = reinterpret_cast<drm_i915_query_item*>(asked.items_ptr);
    for (uint32_t i = 0; i < asked.num_items; i++) {
        std::string answer;
        switch (items[i].query_id) {
        case DRM_I915_QUERY_TOPOLOGY_INFO:
        case DRM_I915_QUERY_GEOMETRY_SUBSLICES: answer = topology(); break;
        case DRM_I915_QUERY_ENGINE_INFO: answer = engines(); break;
        case DRM_I915_QUERY_MEMORY_REGIONS: answer = memory_regions(); break;
        default: items[i].length = -EINVAL; continue;
        }
        const auto size = static_cast<int32_t>(answer.size());
        if (items[i].length >= size)
            std::memcpy(reinterpret_cast<void*>(items[i].data_ptr), answer.data(), answer.size());
        else if (items[i].length != 0) {
            items[i].length = -EINVAL;
            continue;
        }
        items[i].length = size;
    }
    return 0;
}

int version(drm_version& asked) {
    constexpr const char* name = "i915";
    if (asked.name != nullptr) std::memcpy(asked.name, name, asked.name_len < 4 ? asked.name_len : 4);
    asked.version_major = 1;
    asked.version_minor = 6;
    asked.name_len = 4;
    asked.date_len = asked.desc_len = 0;
    return 0;
}

template <class Argument>
Argument& as(void* argument) {
    return *static_cast<Argument*>(argument);
}

// By number alone: the size in a request grows with the kernel's version (drm_syncobj_wait).
int answer(unsigned long request, void* argument) {
    switch (_IOC_NR(request)) {
    case _IOC_NR(DRM_IOCTL_VERSION): return version(as<drm_version>(argument));
    case _IOC_NR(DRM_IOCTL_GET_CAP): as<drm_get_cap>(argument).value = 1; return 0;
    case _IOC_NR(DRM_IOCTL_I915_GETPARAM): return get_param(as<drm_i915_getparam>(argument));
    case _IOC_NR(DRM_IOCTL_I915_QUERY): return query(as<drm_i915_query>(argument));
    case _IOC_NR(DRM_IOCTL_I915_GEM_GET_APERTURE):
        as<drm_i915_gem_get_aperture>(argument).aper_size = memory_bytes;
        as<drm_i915_gem_get_aperture>(argument).aper_available_size = memory_bytes;
        return 0;
    case _IOC_NR(DRM_IOCTL_I915_GEM_CONTEXT_GETPARAM): {
        auto& asked = as<drm_i915_gem_context_param>(argument);
        asked.value = asked.param == I915_CONTEXT_PARAM_GTT_SIZE ? uint64_t{1} << 48 : 1;
        return 0;
    }
    case _IOC_NR(DRM_IOCTL_I915_GEM_CONTEXT_CREATE_EXT): as<drm_i915_gem_context_create>(argument).ctx_id = 1; return 0;
    case _IOC_NR(DRM_IOCTL_I915_GEM_VM_CREATE): as<drm_i915_gem_vm_control>(argument).vm_id = 1; return 0;
    case _IOC_NR(DRM_IOCTL_I915_GEM_CREATE): {
        auto& made = as<drm_i915_gem_create>(argument);
        made.handle = node().create(made.size);
        return 0;
    }
    case _IOC_NR(DRM_IOCTL_I915_GEM_CREATE_EXT): {
        auto& made = as<drm_i915_gem_create_ext>(argument);
        made.handle = node().create(made.size);
        return 0;
    }
    case _IOC_NR(DRM_IOCTL_I915_GEM_USERPTR): as<drm_i915_gem_userptr>(argument).handle = node().create(0); return 0;
    case _IOC_NR(DRM_IOCTL_I915_GEM_MMAP_OFFSET): {
        auto& asked = as<drm_i915_gem_mmap_offset>(argument);
        const std::lock_guard lock(node().mutex);
        const auto found = node().offset_of.find(asked.handle);
        if (found == node().offset_of.end()) return fail(ENOENT);
        asked.offset = found->second;
        return 0;
    }
    case _IOC_NR(DRM_IOCTL_GEM_CLOSE): {
        const std::lock_guard lock(node().mutex);
        return node().offset_of.erase(as<drm_gem_close>(argument).handle) == 1 ? 0 : fail(ENOENT);
    }
    case _IOC_NR(DRM_IOCTL_I915_GEM_GET_TILING): as<drm_i915_gem_get_tiling>(argument) = {}; return 0;
    case _IOC_NR(DRM_IOCTL_PRIME_HANDLE_TO_FD): return fail(EOPNOTSUPP);  // nobody to share with
    case _IOC_NR(DRM_IOCTL_I915_GEM_BUSY): as<drm_i915_gem_busy>(argument).busy = 0; return 0;
    case _IOC_NR(DRM_IOCTL_I915_REG_READ): as<drm_i915_reg_read>(argument).val = 0; return 0;
    case _IOC_NR(DRM_IOCTL_SYNCOBJ_CREATE): as<drm_syncobj_create>(argument).handle = node().create(0); return 0;
    case _IOC_NR(DRM_IOCTL_SYNCOBJ_DESTROY): return 0;
    case _IOC_NR(DRM_IOCTL_SYNCOBJ_WAIT):
    case _IOC_NR(DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT):  // all is done at once
    case _IOC_NR(DRM_IOCTL_SYNCOBJ_RESET):
    case _IOC_NR(DRM_IOCTL_SYNCOBJ_SIGNAL):
    case _IOC_NR(DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL):
    case _IOC_NR(DRM_IOCTL_SYNCOBJ_TRANSFER):
    case _IOC_NR(DRM_IOCTL_I915_GEM_CONTEXT_SETPARAM):
    case _IOC_NR(DRM_IOCTL_I915_GEM_CONTEXT_DESTROY):
    case _IOC_NR(DRM_IOCTL_I915_GEM_VM_DESTROY):
    case _IOC_NR(DRM_IOCTL_I915_GEM_SET_DOMAIN):
    case _IOC_NR(DRM_IOCTL_I915_GEM_SET_CACHING):
    case _IOC_NR(DRM_IOCTL_I915_GEM_SET_TILING):
    case _IOC_NR(DRM_IOCTL_I915_GEM_MADVISE):
    case _IOC_NR(DRM_IOCTL_I915_GEM_WAIT):
    case _IOC_NR(DRM_IOCTL_I915_GET_RESET_STATS):
    case _IOC_NR(DRM_IOCTL_I915_GEM_EXECBUFFER2_WR): return 0;
    default: std::fprintf(stderr, "pretend_intel: ioctl 0x%lx is not answered\n", request); return fail(EINVAL);
    }
}

drmDevicePtr the_device() {
    static char* nodes[DRM_NODE_MAX] = {};
    static drmPciBusInfo bus{0, 0, 2, 0};
    static drmPciDeviceInfo info{};
    static drmDevice device = [] {
        nodes[DRM_NODE_RENDER] = node().path.data();
        info.vendor_id = 0x8086;
        info.device_id = gpu().pci_id;
        drmDevice made{};
        made.nodes = nodes;
        made.available_nodes = 1 << DRM_NODE_RENDER;
        made.bustype = DRM_BUS_PCI;
        made.businfo.pci = &bus;
        made.deviceinfo.pci = &info;
        return made;
    }();
    return &device;
}

}  // namespace

extern "C" {

int ioctl(int fd, unsigned long request, void* argument) noexcept {
    if ((request >> 8 & 0xff) == DRM_IOCTL_BASE && node().is(fd)) return answer(request, argument);
    return static_cast<int>(syscall(SYS_ioctl, fd, request, argument));
}

int drmGetDevices2(uint32_t, drmDevicePtr devices[], int max_devices) {
    if (devices != nullptr && max_devices > 0) devices[0] = the_device();
    return 1;
}
int drmGetDevice2(int, uint32_t, drmDevicePtr* device) {
    *device = the_device();
    return 0;
}
int drmGetDevice(int fd, drmDevicePtr* device) { return drmGetDevice2(fd, 0, device); }
void drmFreeDevice(drmDevicePtr* device) { *device = nullptr; }
void drmFreeDevices(drmDevicePtr*, int) {}
}
