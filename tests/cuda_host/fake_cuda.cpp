// A CUDA driver that forwards launches to the host grid, for running the package's own launcher, compiler
// and cache end to end. As strict as the real one where the launcher can go wrong: it wants an ELF image
// that holds the kernel, and the primary context current on the calling thread.
#include <dlfcn.h>
#include <elf.h>

#include <atomic>
#include <cstdlib>
#include <string>

#include "grid.hpp"

namespace {

enum { SUCCESS = 0, INVALID_VALUE = 1, INVALID_IMAGE = 200, INVALID_CONTEXT = 201, NOT_FOUND = 500, LAUNCH_FAILED = 719 };

struct Library {
    std::string image;
};

int primary;  // its address is the context
thread_local void* current;
std::atomic<int> loaded{0};
const char* last_error = "no error";

}  // namespace

extern "C" {

int fake_loaded() { return loaded; }
void* fake_current() { return current; }

int cuInit(unsigned) { return SUCCESS; }

int cuDriverGetVersion(int* version) {
    const char* told = std::getenv("FAKE_DRIVER_VERSION");
    *version = told ? std::atoi(told) : 13000;
    return SUCCESS;
}

int cuGetErrorString(int error, const char** text) {
    *text = error == INVALID_CONTEXT  ? "invalid device context"
            : error == INVALID_IMAGE  ? "device kernel image is invalid"
            : error == NOT_FOUND      ? "named symbol not found"
            : error == LAUNCH_FAILED  ? last_error
                                      : "invalid argument";
    return SUCCESS;
}

int cuDeviceGet(int* device, int ordinal) {
    *device = ordinal;
    return ordinal == 0 ? SUCCESS : INVALID_VALUE;
}

int cuDevicePrimaryCtxRetain(void** context, int) {
    *context = &primary;
    return SUCCESS;
}

int cuCtxGetCurrent(void** context) {
    *context = current;
    return SUCCESS;
}

int cuCtxSetCurrent(void* context) {
    current = context;
    return SUCCESS;
}

int cuLibraryLoadData(void** library, const void* image, void*, void*, unsigned, void*, void*, unsigned) {
    const auto* header = (const Elf64_Ehdr*)image;
    if (std::memcmp(header->e_ident, ELFMAG, SELFMAG)) return INVALID_IMAGE;
    // Program headers are the last thing in a cubin; section headers come just before them.
    const size_t sections = header->e_shoff + (size_t)header->e_shnum * header->e_shentsize;
    const size_t programs = header->e_phoff + (size_t)header->e_phnum * header->e_phentsize;
    *library = new Library{std::string((const char*)image, sections > programs ? sections : programs)};
    ++loaded;
    return SUCCESS;
}

int cuLibraryGetKernel(void** kernel, void* library, const char* name) {
    if (((Library*)library)->image.find(name) == std::string::npos) return NOT_FOUND;
    Dl_info here;
    dladdr((void*)cuInit, &here);
    void* self = dlopen(here.dli_fname, RTLD_NOW | RTLD_NOLOAD);
    *kernel = dlsym(self, name);
    return *kernel ? SUCCESS : NOT_FOUND;
}

int cuLaunchKernel(void* kernel, unsigned blocks, unsigned blocks_y, unsigned blocks_z, unsigned threads,
                   unsigned threads_y, unsigned threads_z, unsigned shared_bytes, void*, void** parameters, void**) {
    const auto& entry = *(const host::Entry*)kernel;
    if (current != &primary) return INVALID_CONTEXT;
    if (blocks == 0 || shared_bytes > 48 << 10 || threads != entry.threads) return INVALID_VALUE;
    if (blocks_y * blocks_z * threads_y * threads_z != 1) return INVALID_VALUE;
    if (const char* error = host::run(entry, parameters[0], 0, blocks, shared_bytes)) {
        last_error = error;
        return LAUNCH_FAILED;
    }
    return SUCCESS;
}

}  // extern "C"
