// Sums over windows of many taps along one axis, by doubling: a window of m taps joined with itself, m taps
// further on, is one of 2 m; joined with one more tap, of 2 m + 1. A launch doubles windows up to three times.
// One thread an output value, lanes along memory; every window adds its taps in the order of the plain
// PyTorch form. Nothing is subtracted, so that no window feels a pixel outside it.
//
// A map is lines of places, and `inner` values at each place: rows of a plane for sums along columns of it,
// pixels of a row for sums along rows. A window is known by the place of its first tap. Beyond the ends of a
// line there are zeros.
//
// Memory traffic: taps come from DRAM once (for windows of one tap they are the sums read), sums once, results
// once. Through the load units go 2^d sums, and up to 2^d - 1 taps, for d doublings.
#pragma once
#include <numbers.cuh>

struct WindowSumsArguments {
    const void* x;                          // the map whose values are taps
    const void* sums;                       // of the windows so far; x itself where those have one tap
    void* out;                              // sums of the doubled windows
    long long total;                        // values of out
    int inner;
    int length, sums_length, out_length;    // places of a line
    int sums_first, out_first;              // place of the first window's first tap: 0, or before the line
    int window, digits;                     // taps of the windows so far, and how they are doubled
    int dilation;
    int divisor;
};

// The window that a thread sums: the place where it begins, and what lies there, or would beyond the line's ends.
template <class Tap, class Sum>
struct Window {
    int place;
    const Tap* x;
    const Sum* sums;
};

// The value some places ahead, in the type of sums; 0 beyond the ends of the line.
template <class Element>
DEVICE typename SumOf<Element>::type value_ahead(const Element* here, int ahead, int inner, int place, int length) {
    return (word)(place + ahead) < (word)length ? widen(here[(long long)ahead * inner]) : 0;
}

// The sum of the window that begins some places ahead. DIGITS, in base 2, say how it is doubled, as in
// `ops.doubling`: after a leading 1, a digit per doubling, 1 for one more tap. That is known at compile time so
// that a thread has all its loads under way before it adds.
template <int DIGITS, class Tap, class Sum>
DEVICE typename SumOf<Tap>::type sum_ahead(const WindowSumsArguments& p, const Window<Tap, Sum>& w, int ahead) {
    if constexpr (DIGITS == 1) {
        return value_ahead(w.sums, ahead, p.inner, w.place - p.sums_first, p.sums_length);
    } else {
        constexpr int HALF = DIGITS / 2, LEADING = HALF < 2 ? 1 : HALF < 4 ? 2 : 4;
        const int reach = ((p.window - 1) * LEADING + HALF) * p.dilation;  // past the window that is joined
        const auto total = sum_ahead<HALF>(p, w, ahead) + sum_ahead<HALF>(p, w, ahead + reach);
        if constexpr (DIGITS % 2) return total + value_ahead(w.x, ahead + 2 * reach, p.inner, w.place, p.length);
        return total;
    }
}

template <class Tap, class Sum>
DEVICE typename SumOf<Tap>::type doubled(const WindowSumsArguments& p, const Window<Tap, Sum>& w) {
#define DOUBLED(digits) \
    case digits: return sum_ahead<digits>(p, w, 0);
    switch (p.digits) {
        DOUBLED(2) DOUBLED(3) DOUBLED(4) DOUBLED(5) DOUBLED(6) DOUBLED(7) DOUBLED(8)
        DOUBLED(9) DOUBLED(10) DOUBLED(11) DOUBLED(12) DOUBLED(13) DOUBLED(14) DOUBLED(15)
    }
#undef DOUBLED
    return 0;
}

template <class Tap, class Sum, class Out>
DEVICE void window_sums(const WindowSumsArguments& p) {
    const long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= p.total) return;
    const long long number = divide(at, p.inner), line = divide(number, p.out_length);
    const int place = (int)(number - line * p.out_length) + p.out_first;
    const long long column = at - number * p.inner;
    const Window<Tap, Sum> window = {
        place,
        (const Tap*)p.x + (line * p.length + place) * p.inner + column,
        (const Sum*)p.sums + (line * p.sums_length + place - p.sums_first) * p.inner + column,
    };
    typedef typename SumOf<Tap>::type Value;
    narrow(doubled(p, window) / (Value)p.divisor, ((Out*)p.out)[at]);
}
