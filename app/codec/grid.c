// How often which coefficient occurs at which position of JPEG's grid; history/grid.py does the same in numpy, and says
// what for.

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#pragma STDC FP_CONTRACT OFF  // as numpy rounds, to the last bit

enum { SIDE = 8, ORDERS = 3 };

// Every eight values of a line against a basis, width of them.
static void slide(const float* values, const float basis[SIDE], size_t width, float* sums) {
    for (size_t x = 0; x < width; x++) {
        float sum = 0;
#pragma GCC unroll 8
        for (size_t i = 0; i < SIDE; i++) sum += values[x + i] * basis[i];
        sums[x] = sum;
    }
}

// The bins of one coefficient along a line, of the same sums of the SIDE lines below, the first of which is `first`.
static void bin(
    const float* lines,
    size_t first,
    size_t width,
    const float basis[SIDE],
    float per_level,
    int32_t last,
    int32_t* bins
) {
    const float limit = (float)last;
    for (size_t x = 0; x < width; x++) {
        float sum = 0;
#pragma GCC unroll 8
        for (size_t i = 0; i < SIDE; i++) sum += lines[(first + i) % SIDE * width + x] * basis[i];
        const float magnitude = fabsf(sum) * per_level;
        bins[x] = (int32_t)(magnitude < limit ? magnitude : limit);
    }
}

// Adds to found[position][coefficient][bin], (SIDE * SIDE, count, bins), the (height - 7) x (width - 7) places of a
// picture. `basis` has the cosines of ORDERS frequencies, `frequencies` (down, across) of each coefficient.
// 0, or -1: no memory.
int grid_histograms(
    const float* picture,
    size_t height,
    size_t width,
    const float* basis,
    const int32_t* frequencies,
    size_t count,
    float per_level,
    size_t bins,
    uint32_t* found
) {
    const size_t across = width - (SIDE - 1);
    float* lines = malloc((ORDERS * SIDE * sizeof(float) + sizeof(int32_t)) * across);
    if (!lines) return -1;
    int32_t* places = (int32_t*)(lines + ORDERS * SIDE * across);
    for (size_t y = 0; y < height; y++) {
        for (size_t k = 0; k < ORDERS; k++)
            slide(picture + y * width, basis + k * SIDE, across, lines + (k * SIDE + y % SIDE) * across);
        if (y < SIDE - 1) continue;
        const size_t top = y - (SIDE - 1);
        for (size_t c = 0; c < count; c++) {
            const float* sums = lines + (size_t)frequencies[2 * c + 1] * SIDE * across;
            bin(sums, top, across, basis + frequencies[2 * c] * SIDE, per_level, (int32_t)bins - 1, places);
            uint32_t* row = found + (top % SIDE * SIDE * count + c) * bins;
            for (size_t x = 0; x < across; x++) row[x % SIDE * count * bins + (size_t)places[x]]++;
        }
    }
    free(lines);
    return 0;
}

// sums (rows, columns) = found (rows, bins) times combs (bins, columns).
void grid_sums(const uint32_t* found, size_t rows, size_t bins, const double* combs, size_t columns, double* sums) {
    memset(sums, 0, rows * columns * sizeof *sums);
    for (size_t r = 0; r < rows; r++, found += bins, sums += columns) {
        for (size_t b = 0; b < bins; b++) {
            if (!found[b]) continue;
            const double times = found[b];
            for (size_t i = 0; i < columns; i++) sums[i] += times * combs[b * columns + i];
        }
    }
}
