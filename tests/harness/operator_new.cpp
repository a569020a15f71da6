// operator new of the test binary: counts while a command log runs (command_spy.h). Everything else is malloc and free.
#include <cstdlib>
#include <new>

namespace vkattn_tests {
void count_new();
}

namespace {

void* allocate(std::size_t size) {
    vkattn_tests::count_new();
    void* memory = std::malloc(size == 0 ? 1 : size);
    if (memory == nullptr) std::abort();
    return memory;
}

void* allocate(std::size_t size, std::align_val_t alignment) {
    vkattn_tests::count_new();
    const std::size_t a = static_cast<std::size_t>(alignment);
#if defined(_MSC_VER)
    void* memory = _aligned_malloc(size == 0 ? 1 : size, a);
#else
    void* memory = std::aligned_alloc(a, (size + a - 1) / a * a + (size == 0 ? a : 0));
#endif
    if (memory == nullptr) std::abort();
    return memory;
}

void release_aligned(void* memory) {
#if defined(_MSC_VER)
    _aligned_free(memory);
#else
    std::free(memory);
#endif
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size); }
void* operator new[](std::size_t size) { return allocate(size); }
void* operator new(std::size_t size, std::align_val_t alignment) { return allocate(size, alignment); }
void* operator new[](std::size_t size, std::align_val_t alignment) { return allocate(size, alignment); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { release_aligned(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { release_aligned(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { release_aligned(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { release_aligned(memory); }
