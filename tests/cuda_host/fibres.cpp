// A block's threads as fibres on one CPU thread, resumed in turn; each runs until it must wait.
//
// With WATCHED defined, ThreadSanitizer is told that fibres are threads and that only barriers order what they
// do; then it sees what no barrier orders, without a real thread. Only kernels are compiled with it: what this
// file does for them is no access of theirs.
#include <setjmp.h>
#include <ucontext.h>

#include <memory>
#include <vector>

#include "grid.hpp"

#ifdef WATCHED
extern "C" {
void* __tsan_create_fiber(unsigned flags);
void* __tsan_get_current_fiber();
void __tsan_switch_to_fiber(void* fibre, unsigned flags);
void __tsan_acquire(void* address);
void __tsan_release(void* address);
}
#endif

#if defined(WATCHED) || defined(__SANITIZE_ADDRESS__)
#define SWAPS_CONTEXTS  // both sanitizers take jumps for stack unwinding
#endif

namespace host {
namespace {

enum State { READY, AT_BARRIER, AT_MMA, DONE };

// Where a fibre, or the scheduler, goes on. swapcontext saves the signal mask too, two system calls a
// switch; a jump does not, and one jump goes to a stack that makecontext prepared like to any other.
struct Context {
    ucontext_t start;
#ifndef SWAPS_CONTEXTS
    jmp_buf resume;
    bool started;
#endif
#ifdef WATCHED
    void* watched;
#endif
};

void switch_to(Context& from, Context& to) {
#ifdef WATCHED
    __tsan_switch_to_fiber(to.watched, 1);  // 1: a switch orders nothing
#endif
#ifdef SWAPS_CONTEXTS
    swapcontext(&from.start, &to.start);
#else
    if (_setjmp(from.resume)) return;
    if (to.started) _longjmp(to.resume, 1);
    to.started = true;
    setcontext(&to.start);
#endif
}

// What all threads before a point did, all threads after it see. A barrier and the next are two points: a
// fibre may reach the next before another has left this one.
struct Order {
    char start, end, barriers[2];
    void before(char& point) {
#ifdef WATCHED
        __tsan_release(&point);
#else
        (void)point;
#endif
    }
    void after(char& point) {
#ifdef WATCHED
        __tsan_acquire(&point);
#else
        (void)point;
#endif
    }
};

struct Fibre {
    Context context;
    std::unique_ptr<char[]> stack;
    Thread thread;
    State state;
    unsigned barriers;  // passed so far
    Kind kind;
    Fragment fragment;
    float sum[4];
};

enum { STACK_BYTES = 128 << 10 };

thread_local Context scheduler;
thread_local Fibre* current;
thread_local std::vector<Fibre> fibres;
thread_local const Entry* kernel;
thread_local const void* kernel_arguments;
thread_local Order order;

void body() {
    order.after(order.start);
    kernel->call(kernel_arguments);
    order.before(order.end);
    current->state = DONE;
    switch_to(current->context, scheduler);
}

void wait_as(State state) {
    current->state = state;
    switch_to(current->context, scheduler);
}

bool all(size_t first, size_t last, State state) {
    for (size_t i = first; i < last; ++i)
        if (fibres[i].state != state) return false;
    return true;
}

// Lets fibres go on that have all arrived where they wait; false if there are none.
bool release(size_t threads) {
    if (all(0, threads, AT_BARRIER)) {
        for (size_t i = 0; i < threads; ++i) fibres[i].state = READY;
        return true;
    }
    bool any = false;
    for (size_t first = 0; first + 32 <= threads; first += 32) {
        if (!all(first, first + 32, AT_MMA)) continue;
        const Fragment* warp[32];
        float* sums[32];
        for (int lane = 0; lane < 32; ++lane) {
            Fibre& fibre = fibres[first + lane];
            warp[lane] = &fibre.fragment;
            sums[lane] = fibre.sum;
            fibre.state = READY;
        }
        mma_of_warp(fibres[first].kind, warp, sums);
        any = true;
    }
    return any;
}

const char* run_block(size_t threads) {
    for (size_t i = 0; i < threads; ++i) {
        Fibre& fibre = fibres[i];
        ucontext_t& start = fibre.context.start;
        getcontext(&start);
        start.uc_stack.ss_sp = fibre.stack.get();
        start.uc_stack.ss_size = STACK_BYTES;
        start.uc_link = nullptr;
        makecontext(&start, body, 0);
        fibre.state = READY;
        fibre.barriers = 0;
#ifndef SWAPS_CONTEXTS
        fibre.context.started = false;
#endif
    }
#ifndef SWAPS_CONTEXTS
    scheduler.started = true;
#endif
#ifdef WATCHED
    scheduler.watched = __tsan_get_current_fiber();
#endif
    order.before(order.start);
    for (;;) {
        for (size_t i = 0; i < threads; ++i) {
            if (fibres[i].state != READY) continue;
            current = &fibres[i];
            switch_to(scheduler, current->context);
        }
        if (all(0, threads, DONE)) {
            order.after(order.end);
            return nullptr;
        }
        if (!release(threads)) return "threads wait for each other: a barrier or mma that not all of them reach";
    }
}

}  // namespace

Thread& self() { return current->thread; }

void barrier() {
    char& point = order.barriers[current->barriers++ % 2];
    order.before(point);
    wait_as(AT_BARRIER);
    order.after(point);
}

void mma(Kind kind, float* sum, const word* a, const word* b) {
    current->kind = kind;
    std::memcpy(current->fragment.a, a, sizeof current->fragment.a);
    std::memcpy(current->fragment.b, b, sizeof current->fragment.b);
    std::memcpy(current->sum, sum, sizeof current->sum);
    wait_as(AT_MMA);
    std::memcpy(sum, current->sum, sizeof current->sum);
}

const char* run(const Entry& entry, const void* arguments, unsigned first, unsigned last, size_t shared_bytes) {
    kernel = &entry;
    kernel_arguments = arguments;
    if (fibres.size() < entry.threads) {
        fibres = std::vector<Fibre>(entry.threads);
        for (Fibre& fibre : fibres) {
            fibre.stack.reset(new char[STACK_BYTES]);
#ifdef WATCHED
            fibre.context.watched = __tsan_create_fiber(0);
#endif
        }
    }
    for (unsigned block = first; block < last; ++block) {
        // As large as asked for and not a byte more, for AddressSanitizer; full of NaN, for what nobody wrote.
        std::unique_ptr<word[]> shared(new word[(shared_bytes + 3) / 4]);
        std::memset(shared.get(), 0xff, shared_bytes);
        for (unsigned i = 0; i < entry.threads; ++i) fibres[i].thread = {i, block, entry.threads, shared.get()};
        if (const char* error = run_block(entry.threads)) return error;
    }
    return nullptr;
}

}  // namespace host
