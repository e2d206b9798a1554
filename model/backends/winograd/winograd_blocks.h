// What winograd.c does to a block of patches: Winograd's F(4x4, 3x3) for 64 channels (Lavin and Gray, CVPR 2016).
//
// A patch is 4x4 outputs of a layer and the 6x6 inputs that they see. Transformed, both are 36 points, and a
// convolution is one product of 64 inputs by the outputs at each point: 36 products for 16 pixels where a direct
// convolution has 144.
//
// Features are channels last. A block of patches is kept as (point, patch, channel) once transformed, and so are its
// sums, for one strip of outputs at a time: two vectors, so that the sums of GROUP patches fill the registers. Points
// lie a multiple of 2 KiB and one cache line apart: a patch's are all written together, and without that line they
// would compete for a few sets of the cache.
//
// The second-level cache is for transformed inputs and sums. Everything else is fetched ahead: features by a patch or
// two, and weights by a point, past that cache, as they would only drive out what is there.
//
// Plain C with the compiler's vectors: the same source is SSE2, AVX2, AVX-512 and NEON.

#pragma once

#include <stddef.h>
#include <stdint.h>

#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif

#if defined(__AVX512F__) || defined(__aarch64__)
#define REGISTERS 32
enum { GROUP = 12 };
#else
#define REGISTERS 16
enum { GROUP = 6 };
#endif

enum {
    CHANNELS = 64,
    SIDE = 4,  // of a patch's outputs
    SEEN = 6,  // of its inputs
    POINTS = SEEN * SEEN,
    VECTORS = CHANNELS / LANES,
    STRIP = 2 * LANES,                // outputs of one pass over the points
    LINE = 16,                        // values in a line of the cache
    BLOCK = 24,                       // patches; their points stay in a second-level cache of 512 KiB
    POINT = BLOCK * CHANNELS + LINE,  // from one point of the inputs to the next
    SUM = BLOCK * STRIP + LINE        // and of the sums
};

typedef float vec __attribute__((vector_size(4 * LANES), may_alias));
typedef int32_t mask_vec __attribute__((vector_size(4 * LANES), may_alias));

static inline vec load(const float* from) { return *(const vec*)from; }
static inline void store(float* to, vec value) { *(vec*)to = value; }

static inline vec leaky(vec value, float slope) {
    vec below = value * slope;
    mask_vec above = value > below;  // for a slope of at most 1
    return (vec)(((mask_vec)value & above) | ((mask_vec)below & ~above));
}

// Along a line, the points are a polynomial's values at 0, +-SMALL, +-LARGE and infinity. Square roots of 1/2 and 2
// leave half the rounding error that the usual 1 and 2 do, for the same number of operations.
static const float SMALL = 0.70710678f, LARGE = 1.41421356f;

// Rows of B^T d for six inputs along a line, two at a time, as 1 and 2 have terms in common, and 3 and 4.
static const int INPUT_PAIRS[3][2] = {{0, 5}, {1, 2}, {3, 4}};

static inline void input_pair(int pair, const vec d[SEEN], vec out[2]) {
    if (pair == 0) {
        out[0] = d[0] + d[4] - 2.5f * d[2];
        out[1] = d[1] + d[5] - 2.5f * d[3];
    } else {
        float other = pair == 1 ? 2 : 0.5f;  // the square of the other pair's
        vec even = d[4] - other * d[2], odd = d[3] - other * d[1];
        out[0] = even + (pair == 1 ? SMALL : LARGE) * odd;
        out[1] = even - (pair == 1 ? SMALL : LARGE) * odd;
    }
}

// B^T d B of patches next to each other. `rows` are the six that they see, from the first one's left neighbour.
// Two rows of points at a time, which stay in registers: reading the inputs again costs less than storing them between.
static inline void transform_inputs(const float* const rows[SEEN], int patches, float* out) {
    for (int patch = 0; patch < patches; patch++) {
        for (int part = 0; part < VECTORS; part++) {
            size_t from = (size_t)patch * SIDE * CHANNELS + part * LANES;
            float* to = out + patch * CHANNELS + part * LANES;
#pragma GCC unroll 6
            for (int y = 0; y < SEEN; y++) {
#pragma GCC unroll 4
                for (int x = SEEN; x < SEEN + SIDE; x++) {
                    if (part * LANES % LINE == 0) __builtin_prefetch(rows[y] + from + x * CHANNELS);
                }
            }
#pragma GCC unroll 3
            for (int pair = 0; pair < 3; pair++) {
                vec lines[2][SEEN];
#pragma GCC unroll 6
                for (int x = 0; x < SEEN; x++) {
                    vec column[SEEN], both[2];
#pragma GCC unroll 6
                    for (int y = 0; y < SEEN; y++) column[y] = load(rows[y] + from + x * CHANNELS);
                    input_pair(pair, column, both);
                    lines[0][x] = both[0];
                    lines[1][x] = both[1];
                }
#pragma GCC unroll 2
                for (int line = 0; line < 2; line++) {
                    float* row = to + (size_t)INPUT_PAIRS[pair][line] * SEEN * POINT;
#pragma GCC unroll 3
                    for (int across = 0; across < 3; across++) {
                        vec both[2];
                        input_pair(across, lines[line], both);
                        store(row + INPUT_PAIRS[across][0] * POINT, both[0]);
                        store(row + INPUT_PAIRS[across][1] * POINT, both[1]);
                    }
                }
            }
        }
    }
}

// One strip of outputs of `count` patches at one point. The count is a constant, so that the sums stay in registers.
static inline __attribute__((always_inline)) void multiply_group(
    int count, const float* inputs, const float* weights, float* out
) {
    vec sums[GROUP][2];
#pragma GCC unroll 12
    for (int i = 0; i < count; i++) sums[i][0] = sums[i][1] = (vec){0};
#pragma GCC unroll 2
    for (int channel = 0; channel < CHANNELS; channel++) {
#pragma GCC unroll 2
        for (int i = 0; i < STRIP; i += LINE) __builtin_prefetch(weights + (CHANNELS + channel) * STRIP + i, 0, 0);
        vec low = load(weights + channel * STRIP), high = load(weights + channel * STRIP + LANES);
#pragma GCC unroll 12
        for (int i = 0; i < count; i++) {
            float input = inputs[i * CHANNELS + channel];
            sums[i][0] += input * low;
            sums[i][1] += input * high;
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < count; i++) {
        store(out + i * STRIP, sums[i][0]);
        store(out + i * STRIP + LANES, sums[i][1]);
    }
}

static inline void multiply_any(int count, const float* inputs, const float* weights, float* out) {
    switch (count) {
#define CASE(count)                                  \
    case count:                                      \
        multiply_group(count, inputs, weights, out); \
        break
        CASE(1);
        CASE(2);
        CASE(3);
        CASE(4);
        CASE(5);
        CASE(6);
#if REGISTERS == 32
        CASE(7);
        CASE(8);
        CASE(9);
        CASE(10);
        CASE(11);
        CASE(12);
#endif
#undef CASE
    }
}

// One strip of outputs at every point. Weights: (36 points, 64 inputs, a strip).
static inline void multiply(const float* inputs, const float* weights, int patches, float* sums) {
    int groups = (patches + GROUP - 1) / GROUP;  // of nearly equal size: a small one would wait for its own sums
    for (int point = 0; point < POINTS; point++) {
        for (int group = 0; group < groups; group++) {
            int first = patches * group / groups, count = patches * (group + 1) / groups - first;
            multiply_any(count, inputs + first * CHANNELS, weights, sums + first * STRIP);
        }
        inputs += POINT;
        weights += CHANNELS * STRIP;
        sums += SUM;
    }
}

// A^T m for the six points along a line.
static inline void output_line(const vec m[SEEN], vec out[SIDE]) {
    vec sum = m[1] + m[2], difference = m[1] - m[2], sum2 = m[3] + m[4], difference2 = m[3] - m[4];
    out[0] = m[0] + sum + sum2;
    out[1] = SMALL * difference + LARGE * difference2;
    out[2] = 0.5f * sum + 2 * sum2;
    out[3] = m[5] + SMALL / 2 * difference + LARGE * 2 * difference2;
}

// A^T m A with bias, for one strip of outputs: through LeakyReLU, or with `add` added to what is there; `step` is from
// a pixel to the next. `add` is a constant.
static inline __attribute__((always_inline)) void transform_outputs(
    int add, const float* sums, int patches, const float* bias, float slope, float* const rows[SIDE], size_t step
) {
    for (int patch = 0; patch < patches; patch++) {
        for (int part = 0; part < STRIP; part += LANES) {
#pragma GCC unroll 4
            for (int y = 0; y < SIDE; y++) {
#pragma GCC unroll 4
                for (int x = 2 * SIDE; x < 3 * SIDE; x++) {
                    if (part % LINE == 0) __builtin_prefetch(rows[y] + (patch * SIDE + x) * step + part, 1);
                }
            }
            vec lines[SIDE][SEEN];
#pragma GCC unroll 6
            for (int x = 0; x < SEEN; x++) {
                vec column[SEEN], made[SIDE];
#pragma GCC unroll 6
                for (int y = 0; y < SEEN; y++) column[y] = load(sums + (y * SEEN + x) * SUM + patch * STRIP + part);
                output_line(column, made);
#pragma GCC unroll 4
                for (int y = 0; y < SIDE; y++) lines[y][x] = made[y];
            }
#pragma GCC unroll 4
            for (int y = 0; y < SIDE; y++) {
                vec made[SIDE];
                output_line(lines[y], made);
#pragma GCC unroll 4
                for (int x = 0; x < SIDE; x++) {
                    float* to = rows[y] + (patch * SIDE + x) * step + part;
                    vec biased = made[x] + load(bias + part);
                    store(to, add ? load(to) + biased : leaky(biased, slope));
                }
            }
        }
    }
}
