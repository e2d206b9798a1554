// How often which coefficient occurs at which position of JPEG's grid; history/grid.py does the same in numpy, and says
// what for.

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#pragma STDC FP_CONTRACT OFF  // as numpy rounds, to the last bit

enum { SIDE = 8, ORDERS = 3 };

typedef double four_t __attribute__((vector_size(32)));

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

static double dot(const double* a, const double* b, size_t length) {
    four_t sums[2] = {{0}};
    size_t i = 0;
    for (; i + 8 <= length; i += 8) {
        four_t left[2], right[2];
        memcpy(left, a + i, sizeof left);
        memcpy(right, b + i, sizeof right);
        sums[0] += left[0] * right[0];
        sums[1] += left[1] * right[1];
    }
    sums[0] += sums[1];
    double sum = sums[0][0] + sums[0][1] + sums[0][2] + sums[0][3];
    for (; i < length; i++) sum += a[i] * b[i];
    return sum;
}

// What was found at each position, (positions, count, bins), weighted by `combs` (count, columns, bins) within `ranges`
// (count, columns, 2) of bins and added up, (positions, columns), and how much that is, likewise. 0, or -1: no memory.
int grid_sums(
    const uint32_t* found,
    size_t positions,
    size_t count,
    size_t bins,
    const double* combs,
    const int32_t* ranges,
    size_t columns,
    double* sums,
    double* counts
) {
    double* line = malloc((2 * bins + 1) * sizeof *line);
    if (!line) return -1;
    double* before = line + bins;  // how much is found in the bins before each
    memset(sums, 0, positions * columns * sizeof *sums);
    memset(counts, 0, positions * columns * sizeof *counts);
    for (size_t p = 0; p < positions; p++, sums += columns, counts += columns) {
        for (size_t c = 0; c < count; c++, found += bins) {
            before[0] = 0;
            for (size_t b = 0; b < bins; b++) line[b] = found[b], before[b + 1] = before[b] + line[b];
            for (size_t i = 0; i < columns; i++) {
                const size_t place = c * columns + i, first = (size_t)ranges[2 * place];
                const size_t last = (size_t)ranges[2 * place + 1];
                sums[i] += dot(line + first, combs + place * bins + first, last - first);
                counts[i] += before[last] - before[first];
            }
        }
    }
    free(line);
    return 0;
}
