// Which row of the input a tap of a site reads, in two ways: from a kernel map (active sites), or worked
// out from the pixel (a channels-last map is rows (N H W, C), every output pixel a site). Kernels take
// either as a template argument.
#pragma once
#include <numbers.cuh>

struct GatherArguments {
    const int* rows;                // (sites, taps); null for maps
    long long sites, inputs;        // rows that are written, rows that are read
    int taps;
    // Only for maps:
    int height, width, out_height, out_width;
    int taps_x, dilation_y, dilation_x, pad_y, pad_x;
};

// Rows come from the kernel map. An entry of `inputs` or more means "no such site".
struct TableRows {
    static constexpr bool SHARES = false;
    const GatherArguments& p;
    long long first;

    DEVICE TableRows(const GatherArguments& arguments, word*) : p(arguments), first(0) {}
    DEVICE void start(long long site, int) { first = site; }  // of a run of sites
    DEVICE long long row(int site, int tap) const {           // -1 if there is none
        if (first + site >= p.sites) return -1;
        const int at = p.rows[(first + site) * p.taps + tap];
        return at < p.inputs ? at : -1;
    }
};

// Rows are pixels. The first tap of each site of a run is kept in shared memory, which saves two divisions
// a read; the caller puts a barrier after start().
struct PixelRows {
    struct Origin {
        long long image;  // first row of the image; -1 after the last site
        int y, x;
    };
    static constexpr bool SHARES = true;
    const GatherArguments& p;
    Origin* origins;

    DEVICE PixelRows(const GatherArguments& arguments, word* shared)
        : p(arguments), origins((Origin*)shared) {}
    DEVICE void start(long long first, int count) {
        for (int i = threadIdx.x; i < count; i += blockDim.x) {
            const long long line = divide(first + i, p.out_width), image = divide(line, p.out_height);
            origins[i].image = first + i < p.sites ? image * p.height * p.width : -1;
            origins[i].y = (int)(line - image * p.out_height) - p.pad_y;
            origins[i].x = (int)(first + i - line * p.out_width) - p.pad_x;
        }
    }
    DEVICE long long row(int site, int tap) const {
        const Origin origin = origins[site];
        const int ty = tap / p.taps_x;
        const int y = origin.y + ty * p.dilation_y, x = origin.x + (tap - ty * p.taps_x) * p.dilation_x;
        if (origin.image < 0 || y < 0 || y >= p.height || x < 0 || x >= p.width) return -1;
        return origin.image + (long long)y * p.width + x;
    }
};
