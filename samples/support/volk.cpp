// The one place that compiles volk: the Vulkan loader, found while the program runs.
#define VOLK_IMPLEMENTATION
#include <volk.h>
