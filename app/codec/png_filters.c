// Rows of a PNG, filtered, without Python's lock; png_filters.py does the same in numpy where this is not compiled.

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef uint8_t byte;

enum { NONE, SUB, UP, AVERAGE, PAETH, KINDS };
enum { VECTOR = 32, SUMMED = 255 * VECTOR };  // bytes; the differences of so many, in pairs, add up to 16 bits

typedef byte vector_t __attribute__((vector_size(VECTOR)));
typedef uint16_t sums_t __attribute__((vector_size(VECTOR)));

// Up to a vector of bytes.
static inline vector_t load(const byte* from, size_t length) {
    vector_t values = {0};
    memcpy(&values, from, length);
    return values;
}

static inline vector_t difference_of(vector_t a, vector_t b) {
    return __builtin_elementwise_max(a, b) - __builtin_elementwise_min(a, b);
}

// The predictor of clause 9.4, in bytes throughout: see _paeth in png_filters.py.
static inline vector_t paeth_of(vector_t left, vector_t up, vector_t corner) {
    const vector_t from_left = difference_of(up, corner), from_up = difference_of(left, corner);
    const vector_t same_side = (vector_t)((up > corner) == (left > corner));
    const vector_t from_corner = difference_of(from_left, from_up) | same_side;
    const vector_t take_left = (vector_t)(from_left <= __builtin_elementwise_min(from_up, from_corner));
    const vector_t take_up = (vector_t)(from_up <= from_corner);
    return (take_left & left) | (~take_left & ((take_up & up) | (~take_up & corner)));
}

// Up to a vector of bytes less what it predicts of those to their left and above.
static inline __attribute__((always_inline)) void put_paeth(
    const byte* here, const byte* up, size_t step, size_t count, byte* out
) {
    const vector_t left = load(here - step, count), corner = load(up - step, count);
    const vector_t rest = load(here, count) - paeth_of(left, load(up, count), corner);
    memcpy(out, &rest, count);
}

// A row of `length` bytes less what a filter predicts; the first `step` bytes have nothing to their left.
static void differences(int kind, const byte* here, const byte* up, size_t length, size_t step, byte* restrict out) {
    size_t first = step < length ? step : length;
    switch (kind) {
        case NONE:
            memcpy(out, here, length);
            break;
        case SUB:
            memcpy(out, here, first);
            for (size_t i = first; i < length; i++) out[i] = (byte)(here[i] - here[i - step]);
            break;
        case UP:
            for (size_t i = 0; i < length; i++) out[i] = (byte)(here[i] - up[i]);
            break;
        case AVERAGE:
            for (size_t i = 0; i < first; i++) out[i] = (byte)(here[i] - up[i] / 2);
            for (size_t i = first; i < length; i++) out[i] = (byte)(here[i] - (here[i - step] + up[i]) / 2);
            break;
        case PAETH:
            for (size_t i = 0; i < first; i++) out[i] = (byte)(here[i] - up[i]);
            size_t i = first;
            for (; i + VECTOR <= length; i += VECTOR) put_paeth(here + i, up + i, step, VECTOR, out + i);
            if (i < length) put_paeth(here + i, up + i, step, length - i, out + i);
    }
}

// Adds differences as signed bytes, without their sign.
static inline void add(sums_t* sums, vector_t differences) {
    const vector_t sizes = __builtin_elementwise_min(differences, -differences);
    sums_t pairs;
    memcpy(&pairs, &sizes, sizeof pairs);
    *sums += (pairs & 255) + (pairs >> 8);
}

// Up to a vector of bytes; without a `step` there is nothing to their left.
static inline __attribute__((always_inline)) void add_kinds(
    sums_t sums[KINDS], const byte* here, const byte* above, size_t step, size_t count
) {
    const vector_t values = load(here, count), up = load(above, count), none = {0};
    const vector_t left = step ? load(here - step, count) : none, corner = step ? load(above - step, count) : none;
    add(sums + NONE, values);
    add(sums + SUB, values - left);
    add(sums + UP, values - up);
    add(sums + AVERAGE, values - ((left & up) + ((left ^ up) >> 1)));
    add(sums + PAETH, values - paeth_of(left, up, corner));
}

// For each filter the sum of a row's differences as signed bytes, without their sign.
static void find_costs(const byte* here, const byte* up, size_t length, size_t step, uint64_t costs[KINDS]) {
    memset(costs, 0, KINDS * sizeof *costs);
    const size_t first = step < length ? step : length;
    for (size_t at = 0, end = first; at < length; at = end, end = length - at < SUMMED ? length : at + SUMMED) {
        sums_t sums[KINDS] = {{0}};
        size_t i = at;
        if (at > 0)
            for (; i + VECTOR <= end; i += VECTOR) add_kinds(sums, here + i, up + i, step, VECTOR);
        for (size_t count; i < end; i += count) {
            count = end - i < VECTOR ? end - i : VECTOR;
            add_kinds(sums, here + i, up + i, at > 0 ? step : 0, count);
        }
        for (size_t k = 0; k < KINDS; k++)
            for (size_t lane = 0; lane < VECTOR / 2; lane++) costs[k] += sums[k][lane];
    }
}

// Rows of `length` bytes to `out` with a filter byte before each: of `count` kinds the one that costs least, the first
// of equals. `above` is the row before the first, or NULL. 0, or -1 when there is no memory.
int png_filter_rows(
    const byte* rows,
    const byte* above,
    size_t height,
    size_t length,
    size_t step,
    const byte* kinds,
    size_t count,
    byte* out
) {
    byte* zeros = calloc(1, length);
    if (zeros == NULL) return -1;
    const byte* up = above ? above : zeros;
    for (size_t y = 0; y < height; y++) {
        uint64_t costs[KINDS] = {0};
        byte best = kinds[0];
        if (count > 1) find_costs(rows, up, length, step, costs);
        for (size_t i = 1; i < count; i++)
            if (costs[kinds[i]] < costs[best]) best = kinds[i];
        out[0] = best;
        differences(best, rows, up, length, step, out + 1);
        up = rows;
        rows += length;
        out += 1 + length;
    }
    free(zeros);
    return 0;
}
