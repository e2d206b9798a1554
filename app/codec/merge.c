// Planes to samples, row by row; merge.py does the same in numpy where this is not compiled.

#include "merge.h"

#include <stdlib.h>

typedef uint16_t code_t;

// The nearest codes, of two equally near the even one.
static inline void store(lanes_t values, float full, code_t* codes) {
    values = clamped(values, 0, full);
    values += 0x1.8p23f;  // floats of this size are whole numbers, and end in their bits
    union {
        lanes_t numbers;
        uint32_t bits[LANES];
    } rounded = {values};
    for (size_t i = 0; i < LANES; i++) codes[i] = (code_t)rounded.bits[i];
}

// Values from `at`, each `scale` times.
static inline lanes_t repeated(const float* at, size_t scale) {
    lanes_t v;
    memcpy(&v, at, sizeof v);
    switch (scale) {
        case 1:
            return v;
        case 2:
            return __builtin_shufflevector(v, v, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
        case 4:
            return __builtin_shufflevector(v, v, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
        default:
            return __builtin_shufflevector(v, v, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    }
}

// Where the taps of a result row begin in a source plane, and their weights.
static inline void find_taps(const merge_t* merge, size_t row, size_t at[TAPS], float weights[TAPS]) {
    for (ptrdiff_t t = 0; t < TAPS; t++) {
        ptrdiff_t source = (ptrdiff_t)(row / merge->scale) + merge->offset + t, last = (ptrdiff_t)merge->height - 1;
        source = source < 0 ? 0 : source > last ? last : source;
        at[t] = (size_t)source * merge->width;
        weights[t] = merge->phases[(size_t)t * LANES + row % merge->scale];
    }
}

// Repeats the first and the last of a row's values where taps reach beyond the source's columns.
static inline void extend(const merge_t* merge, float* added, size_t wide) {
    const size_t before = (size_t)-merge->offset, end = before + merge->width;
    for (size_t x = 0; x < before; x++) added[x] = added[before];
    for (size_t x = end; x < wide; x++) added[x] = added[end - 1];
}

// What chroma, and luma's residual if there is one, add to the colours in a result row, (COLORS, wide): at the source's
// columns and where taps reach beyond.
static inline void mixed(const merge_t* merge, const float* residual, size_t row, float* restrict added, size_t wide) {
    const size_t before = (size_t)-merge->offset;
    size_t at[TAPS];
    float weights[TAPS];
    find_taps(merge, row, at, weights);
    for (size_t x = 0; x < merge->width; x++) {
        float cb = 0, cr = 0, y = 0;
        for (size_t t = 0; t < TAPS; t++) {
            cb += weights[t] * merge->chroma[0][at[t] + x];
            cr += weights[t] * merge->chroma[1][at[t] + x];
            if (residual) y += weights[t] * residual[at[t] + x];
        }
        for (size_t k = 0; k < COLORS; k++) {
            float sum = merge->mix[k][0] * cb + merge->mix[k][1] * cr + merge->bias[k];
            added[k * wide + before + x] = residual ? sum + merge->gain * y : sum;
        }
    }
    for (size_t k = 0; k < COLORS; k++) extend(merge, added + k * wide, wide);
}

// What a residual adds to a row of its plane, likewise.
static inline void alone(
    const merge_t* merge, const float* residual, float gain, float bias, size_t row, float* restrict added, size_t wide
) {
    const size_t before = (size_t)-merge->offset;
    size_t at[TAPS];
    float weights[TAPS];
    find_taps(merge, row, at, weights);
    for (size_t x = 0; x < merge->width; x++) {
        float y = 0;
        for (size_t t = 0; t < TAPS; t++) y += weights[t] * residual[at[t] + x];
        added[before + x] = gain * y + bias;
    }
    extend(merge, added, wide);
}

// A row of one channel: what is added, enlarged, and the plane.
static inline void enlarge(
    const merge_t* merge, size_t scale, const float* added, const float* plane, float gain, float* values
) {
    const size_t length = merge->width * scale;
    lanes_t weights[TAPS];
    memcpy(weights, merge->phases, sizeof weights);
    for (size_t x = 0; x < length; x += LANES, added += LANES / scale) {
        lanes_t sum = load(plane, x, length) * gain;
        for (size_t t = 0; t < TAPS; t++) sum += weights[t] * repeated(added + t, scale);
        memcpy(values + x, &sum, sizeof sum);
    }
}

// The same, compiled for each scale.
static void channel(const merge_t* merge, const float* added, const float* plane, float gain, float* values) {
    switch (merge->scale) {
        case 1:
            enlarge(merge, 1, added, plane, gain, values);
            break;
        case 2:
            enlarge(merge, 2, added, plane, gain, values);
            break;
        case 4:
            enlarge(merge, 4, added, plane, gain, values);
            break;
        default:
            enlarge(merge, 8, added, plane, gain, values);
    }
}

// A row of a plane that nothing is added to.
static inline void plain(const float* plane, float gain, float bias, size_t length, float* values) {
    for (size_t x = 0; x < length; x += LANES) {
        lanes_t sum = load(plane, x, length) * gain + bias;
        memcpy(values + x, &sum, sizeof sum);
    }
}

// A row of gray or of alpha, with its residual if it has one.
static void single(
    const merge_t* merge,
    const float* plane,
    const float* residual,
    float gain,
    float bias,
    size_t row,
    float* room,
    float* values
) {
    const size_t length = merge->width * merge->scale;
    if (residual) {
        alone(merge, residual, gain, bias, row, room, merge->width + TAPS - 1);
        channel(merge, room, plane + row * length, gain, values);
    } else {
        plain(plane + row * length, gain, bias, length, values);
    }
}

// Whole lanes are read at the end.
size_t merge_room(const merge_t* merge) { return COLORS * (merge->width + TAPS - 1) + LANES; }

void merge_values(const merge_t* merge, size_t row, float* room, float* values, size_t wide) {
    const size_t length = merge->width * merge->scale, reach = merge->width + TAPS - 1, colors = colors_of(merge);
    const float *luma = merge->luma + row * length, full = full_scale(merge);
    if (colors == 1) {
        single(merge, merge->luma, merge->residuals[0], merge->gain, merge->bias[0], row, room, values);
    } else {
        if (merge->residuals[0])
            mixed(merge, merge->residuals[0], row, room, reach);
        else
            mixed(merge, NULL, row, room, reach);
        for (size_t k = 0; k < COLORS; k++) channel(merge, room + k * reach, luma, merge->gain, values + k * wide);
    }
    float* alpha = values + colors * wide;
    if (merge->alpha)
        single(merge, merge->alpha, merge->residuals[1], full, 0, row, room, alpha);
    else if (merge->channels > colors)
        plain(luma, 0, full, length, alpha);
}

// Adds the offsets of one channel to a row, bilinearly between the centres of blocks; `between` has room for one a
// block column.
static inline void shift(
    const merge_t* merge, size_t scale, const float* offsets, size_t row, float* between, float* values
) {
    const size_t side = BLOCK * scale, length = merge->width * scale;
    const size_t rows = (merge->height + BLOCK - 1) / BLOCK, columns = (merge->width + BLOCK - 1) / BLOCK;
    const size_t above = (row + side / 2) / side, top = above ? above - 1 : 0, bottom = above < rows ? above : rows - 1;
    const float down = ((float)((row + side / 2) % side) + 0.5f) / (float)side;
    int any = 0;
    for (size_t k = 0; k < columns; k++) {
        const float high = offsets[top * columns + k], low = offsets[bottom * columns + k];
        between[k] = high + (low - high) * down;
        any |= between[k] != 0;
    }
    if (!any) return;
    for (size_t k = 0; k <= columns; k++) {  // from the centre of block k - 1 to that of block k
        const float left = between[k ? k - 1 : 0], right = between[k < columns ? k : columns - 1];
        if (left == 0 && right == 0) continue;
        const size_t from = k ? 0 : side / 2, start = k * side - side / 2;  // wraps for k = 0, and back by `from`
        for (size_t x = from; x < side && start + x < length; x++)
            values[start + x] += left + (right - left) * (((float)x + 0.5f) / (float)side);
    }
}

// Rows of codes, `wide` apart, one a channel, to a row of pixels.
static inline void interleave_all(
    const code_t* codes, size_t wide, size_t length, size_t channels, size_t itemsize, void* out
) {
    for (size_t x = 0; x < length; x++)
        for (size_t c = 0; c < channels; c++)
            if (itemsize == 1)
                ((uint8_t*)out)[x * channels + c] = (uint8_t)codes[c * wide + x];
            else
                ((code_t*)out)[x * channels + c] = codes[c * wide + x];
}

// The same, compiled for each number of channels.
static void interleave(const merge_t* merge, const code_t* codes, size_t wide, size_t length, void* out) {
    switch (merge->channels) {
        case 1:
            interleave_all(codes, wide, length, 1, merge->itemsize, out);
            break;
        case 2:
            interleave_all(codes, wide, length, 2, merge->itemsize, out);
            break;
        case 3:
            interleave_all(codes, wide, length, 3, merge->itemsize, out);
            break;
        default:
            interleave_all(codes, wide, length, 4, merge->itemsize, out);
    }
}

// Result rows [first, last) to `out`, (last - first, width * scale, channels). 0, or -1 when there is no memory.
int merge_rows(const merge_t* merge, size_t first, size_t last, void* out) {
    const size_t length = merge->width * merge->scale, wide = whole_lanes(length);
    const size_t rows = (merge->height + BLOCK - 1) / BLOCK, columns = (merge->width + BLOCK - 1) / BLOCK;
    float* room = calloc(merge_room(merge), sizeof(float));
    float* values = calloc(merge->channels * wide + columns, sizeof(float));
    code_t* codes = calloc(MAX_CHANNELS * wide, sizeof(code_t));
    const int failed = room == NULL || values == NULL || codes == NULL;
    for (size_t row = first; row < last && !failed; row++) {
        merge_values(merge, row, room, values, wide);
        for (size_t c = 0; c < merge->channels; c++) {
            float* line = values + c * wide;
            if (merge->offsets) {
                const float* offsets = merge->offsets + c * rows * columns;
                shift(merge, merge->scale, offsets, row, values + merge->channels * wide, line);
            }
            for (size_t x = 0; x < wide; x += LANES)
                store(load(line, x, wide), full_scale(merge), codes + c * wide + x);
        }
        interleave(
            merge, codes, wide, length, (uint8_t*)out + (row - first) * length * merge->channels * merge->itemsize
        );
    }
    free(room);
    free(values);
    free(codes);
    return failed ? -1 : 0;
}
