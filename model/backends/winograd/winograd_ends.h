// What winograd.c does to a few pixels where the network begins and ends: the first layer, the residual and the image.

#pragma once

#include "winograd_blocks.h"

enum {
    PIXELS = REGISTERS / 5,  // of the residual at a time: so many that their sums, four a pixel, fill the registers
    PHASES = 4,
    TAPS = 9
};

typedef float loose_vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef float vec4 __attribute__((vector_size(16), may_alias));

// The first layer of one pixel: 64 outputs of what its eight neighbours differ from it by. `rows` are those above, at
// and below the pixel, from its left neighbour; weights (8, 64).
static inline void entry_pixel(
    const float* const rows[3], const float* weights, const float* bias, float slope, float* out
) {
    const float *above = rows[0], *here = rows[1], *below = rows[2];
    const float around[8] = {above[0], above[1], above[2], here[0], here[2], below[0], below[1], below[2]};
    for (int part = 0; part < CHANNELS; part += LANES) {
        vec sum = load(bias + part);
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) sum += (around[i] - here[1]) * load(weights + CHANNELS * i + part);
        store(out + part, leaky(sum, slope));
    }
}

// Four vectors, one for each phase, to the sums of their lanes.
static inline vec4 sum_lanes(const vec sums[PHASES]) {
    vec4 parts[PHASES];
#pragma GCC unroll 4
    for (int phase = 0; phase < PHASES; phase++) {
        const vec4* quarters = (const vec4*)&sums[phase];
        parts[phase] = quarters[0];
#pragma GCC unroll 3
        for (int i = 1; i < LANES / 4; i++) parts[phase] += quarters[i];
    }
    vec4 first = __builtin_shufflevector(parts[0], parts[1], 0, 4, 1, 5) +
                 __builtin_shufflevector(parts[0], parts[1], 2, 6, 3, 7);
    vec4 second = __builtin_shufflevector(parts[2], parts[3], 0, 4, 1, 5) +
                  __builtin_shufflevector(parts[2], parts[3], 2, 6, 3, 7);
    return __builtin_shufflevector(first, second, 0, 1, 4, 5) + __builtin_shufflevector(first, second, 2, 3, 6, 7);
}

// The four phases of the residual of `count` pixels, to (count, 4). `rows` are those above, at and below the pixels,
// from the first one's left neighbour; weights (9 taps, 64 / LANES, 4 phases, LANES). Lanes are inputs: with only four
// outputs, a direct convolution in full vectors is as fast as transforms and products that leave lanes empty.
static inline __attribute__((always_inline)) void residual_pixels(
    int count, const float* const rows[3], const float* weights, vec4 bias, float* out
) {
    vec sums[PIXELS][PHASES];
#pragma GCC unroll 6
    for (int i = 0; i < count; i++) sums[i][0] = sums[i][1] = sums[i][2] = sums[i][3] = (vec){0};
    for (int y = 0; y < 3; y++) {
        const float* row = rows[y];
        for (int x = 0; x < 3; x++) {
            for (int part = 0; part < VECTORS; part++) {
                vec inputs[PIXELS];
#pragma GCC unroll 6
                for (int i = 0; i < count; i++) inputs[i] = load(row + i * CHANNELS);
#pragma GCC unroll 4
                for (int phase = 0; phase < PHASES; phase++) {
                    vec weight = load(weights);
#pragma GCC unroll 6
                    for (int i = 0; i < count; i++) sums[i][phase] += inputs[i] * weight;
                    weights += LANES;
                }
                row += LANES;
            }
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < count; i++) *(vec4*)(out + PHASES * i) = sum_lanes(sums[i]) + bias;
}

// The four phases of the image, twice as large, of LANES pixels: a vector of each. `rows` are those above, at and below
// the pixels, from the first one's left neighbour.
static inline void upsample_pixels(const float* const rows[3], const float* kernels, float* const phases[PHASES]) {
    for (int phase = 0; phase < PHASES; phase++) {
        const float* taps = kernels + TAPS * phase;
        vec sum = taps[0] * *(const loose_vec*)rows[0];
        for (int i = 1; i < TAPS; i++) sum += taps[i] * *(const loose_vec*)(rows[i / 3] + i % 3);
        store(phases[phase], sum);
    }
}
