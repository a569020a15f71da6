// The one place that compiles the Vulkan Memory Allocator.
#define VMA_IMPLEMENTATION
#include "support/vma.h"
