// Launches for ctypes.
#include "grid.hpp"

extern "C" const char* host_run(const host::Entry* kernel, const void* arguments, size_t size, unsigned threads,
                                unsigned first, unsigned last, size_t shared_bytes) {
    if (size != kernel->arguments) return "the structure of arguments has another size in C++";
    if (threads != kernel->threads) return "the block has another size in C++";
    return host::run(*kernel, arguments, first, last, shared_bytes);
}
