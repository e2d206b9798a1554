// Rows of a PNG, filtered, without Python's lock; png_filters.py does the same in numpy where this is not compiled.

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef uint8_t byte;

enum { NONE, SUB, UP, AVERAGE, PAETH };
enum { COUNTED = 1 << 20 };  // bytes that are summed up in 32 bits

// The predictor of the PNG specification, clause 9.4.
static inline byte paeth(byte left, byte up, byte corner) {
    int16_t vertical = (int16_t)(up - corner), horizontal = (int16_t)(left - corner);
    int16_t both = (int16_t)(vertical + horizontal);
    int16_t from_left = vertical < 0 ? -vertical : vertical;
    int16_t from_up = horizontal < 0 ? -horizontal : horizontal;
    int16_t from_corner = both < 0 ? -both : both;
    byte other = from_up <= from_corner ? up : corner;
    return from_left <= from_up && from_left <= from_corner ? left : other;
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
            for (size_t i = first; i < length; i++)
                out[i] = (byte)(here[i] - paeth(here[i - step], up[i], up[i - step]));
    }
}

// The sum of differences as signed bytes, without their sign. Sums of 32 bits are four times as fast as of 64.
static uint64_t cost(const byte* row, size_t length) {
    uint64_t total = 0;
    for (size_t end, at = 0; at < length; at = end) {
        uint32_t sum = 0;
        end = length - at < COUNTED ? length : at + COUNTED;
        for (size_t i = at; i < end; i++) {
            byte size = row[i] < 128 ? row[i] : (byte)-row[i];
            sum += size;
        }
        total += sum;
    }
    return total;
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
    byte* memory = calloc(2, length);  // a row of zeros, and one to try
    if (memory == NULL) return -1;
    byte* tried = memory + length;
    const byte* up = above ? above : memory;
    for (size_t y = 0; y < height; y++) {
        differences(kinds[0], rows, up, length, step, out + 1);
        out[0] = kinds[0];
        uint64_t least = count > 1 ? cost(out + 1, length) : 0;
        for (size_t i = 1; i < count; i++) {
            differences(kinds[i], rows, up, length, step, tried);
            uint64_t costs = cost(tried, length);
            if (costs < least) {
                least = costs;
                out[0] = kinds[i];
                memcpy(out + 1, tried, length);
            }
        }
        up = rows;
        rows += length;
        out += 1 + length;
    }
    free(memory);
    return 0;
}
