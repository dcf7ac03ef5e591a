// A block's threads as real threads, so that ThreadSanitizer sees what no barrier orders. pthread barriers:
// ThreadSanitizer does not see through std::barrier.
#include <pthread.h>

#include <memory>
#include <thread>
#include <vector>

#include "grid.hpp"

namespace host {
namespace {

struct Warp {
    pthread_barrier_t meeting;
    Fragment fragments[32];
};

thread_local Thread current;
thread_local Warp* warp;
pthread_barrier_t block_meeting;

}  // namespace

Thread& self() { return current; }

void barrier() { pthread_barrier_wait(&block_meeting); }

void mma(Kind kind, float* sum, const word* a, const word* b) {
    const int lane = current.thread % 32;
    std::memcpy(warp->fragments[lane].a, a, sizeof warp->fragments[lane].a);
    std::memcpy(warp->fragments[lane].b, b, sizeof warp->fragments[lane].b);
    pthread_barrier_wait(&warp->meeting);
    const Fragment* all[32];
    for (int i = 0; i < 32; ++i) all[i] = &warp->fragments[i];
    mma_of_lane(kind, lane, all, sum);
    pthread_barrier_wait(&warp->meeting);
}

const char* run(const Entry& entry, const void* arguments, unsigned first, unsigned last, size_t shared_bytes) {
    std::vector<Warp> warps((entry.threads + 31) / 32);
    for (Warp& w : warps) pthread_barrier_init(&w.meeting, nullptr, 32);
    pthread_barrier_init(&block_meeting, nullptr, entry.threads);
    std::unique_ptr<word[]> shared;
    const auto body = [&](unsigned thread) {
        warp = &warps[thread / 32];
        for (unsigned block = first; block < last; ++block) {
            if (thread == 0) {
                shared.reset(new word[(shared_bytes + 3) / 4]);
                std::memset(shared.get(), 0xff, shared_bytes);
            }
            barrier();
            current = {thread, block, entry.threads, shared.get()};
            entry.call(arguments);
            barrier();
        }
    };
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < entry.threads; ++i) threads.emplace_back(body, i);
    for (std::thread& thread : threads) thread.join();
    return nullptr;
}

}  // namespace host
