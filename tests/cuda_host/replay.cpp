// Replays launches recorded by tape.py: every buffer on the heap and exactly as large as its tensor, every
// result compared byte by byte. Exit status 0 if all agree; 1 if not, with the kernel's name.
//
// usage: replay TAPE [bytes that shared memory is short by]
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "grid.hpp"

namespace {

std::ifstream tape;

template <class Number>
Number read() {
    Number number;
    tape.read((char*)&number, sizeof number);
    return number;
}

std::unique_ptr<char[]> read_bytes(size_t size) {
    std::unique_ptr<char[]> bytes(new char[size]);
    tape.read(bytes.get(), size);
    return bytes;
}

struct Buffer {
    size_t size;
    std::unique_ptr<char[]> now, wanted;
};

int replay_launch(long short_by) {
    const size_t length = read<size_t>();
    const std::string name(read_bytes(length).get(), length);
    const auto* kernel = (const host::Entry*)dlsym(RTLD_DEFAULT, name.c_str());
    const size_t blocks = read<size_t>(), shared = read<size_t>(), size = read<size_t>();
    auto arguments = read_bytes(size);
    std::vector<Buffer> buffers(read<size_t>());
    for (Buffer& buffer : buffers) {
        const size_t offset = read<size_t>();
        buffer.size = read<size_t>();
        buffer.now = read_bytes(buffer.size);
        buffer.wanted = read_bytes(buffer.size);
        char* place = buffer.now.get();
        std::memcpy(arguments.get() + offset, &place, sizeof place);
    }
    if (!kernel) return 0;  // this program was built without it
    if (const char* error = host::run(*kernel, arguments.get(), 0, blocks, shared - (shared ? short_by : 0))) {
        std::fprintf(stderr, "%s: %s\n", name.c_str(), error);
        return 1;
    }
    for (size_t i = 0; i < buffers.size(); ++i)
        if (std::memcmp(buffers[i].now.get(), buffers[i].wanted.get(), buffers[i].size)) {
            std::fprintf(stderr, "%s: buffer %zu differs\n", name.c_str(), i);
            return 1;
        }
    return -1;
}

}  // namespace

int main(int count, char** words) {
    tape.open(words[1], std::ios::binary);
    const long short_by = count > 2 ? std::atol(words[2]) : 0;
    size_t replayed = 0;
    for (size_t launches = read<size_t>(); launches; --launches) {
        const int result = replay_launch(short_by);
        if (result == 1) return 1;
        replayed += result == -1;
    }
    std::printf("%zu launches\n", replayed);
    return 0;
}
