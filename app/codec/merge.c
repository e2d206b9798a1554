// Planes to samples, row by row; merge.py does the same in numpy where this is not compiled.

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { TAPS = 5, LANES = 16, COLORS = 3, MAX_CHANNELS = 4 };

typedef float lanes_t __attribute__((vector_size(LANES * sizeof(float))));
typedef uint16_t code_t;

// One picture on its way back. `mix`, `gain` and `bias` make codes of the samples of chroma and luma.
typedef struct {
    size_t height, width, scale, channels, itemsize;  // of the source, and of the samples
    const float* chroma[2];                           // (height, width), NULL for gray
    const float* luma;                                // (height * scale, width * scale)
    const float* alpha;                               // likewise, NULL where there is none or all is opaque
    const float* phases;  // of the enlargement by 1, 2, 4 or 8: (TAPS, scale), repeated to (TAPS, LANES)
    ptrdiff_t offset;     // from a source row or column to its first tap, -TAPS < offset <= 0
    float mix[COLORS][2], gain, bias[COLORS];
} merge_t;

// The nearest codes, of two equally near the even one.
static inline void store(lanes_t values, float full, code_t* codes) {
    const lanes_t zero = {0};
    values = __builtin_elementwise_min(__builtin_elementwise_max(values, zero), zero + full);
    values += 0x1.8p23f;  // floats of this size are whole numbers, and end in their bits
    union {
        lanes_t numbers;
        uint32_t bits[LANES];
    } rounded = {values};
    for (size_t i = 0; i < LANES; i++) codes[i] = (code_t)rounded.bits[i];
}

// A row's values from `x` on; what is past its end is never read.
static inline lanes_t load(const float* row, size_t x, size_t length) {
    lanes_t values = {0};
    if (length - x >= LANES)
        memcpy(&values, row + x, sizeof values);
    else
        memcpy(&values, row + x, (length - x) * sizeof *row);
    return values;
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

// What chroma adds to the colours in a result row, (COLORS, wide): at the source's columns and where taps reach beyond.
static inline void mixed(const merge_t* merge, size_t row, float* restrict added, size_t wide) {
    const size_t width = merge->width, before = (size_t)-merge->offset;
    const float* rows[TAPS][2];
    float weights[TAPS];
    for (ptrdiff_t t = 0; t < TAPS; t++) {
        ptrdiff_t source = (ptrdiff_t)(row / merge->scale) + merge->offset + t, last = (ptrdiff_t)merge->height - 1;
        source = source < 0 ? 0 : source > last ? last : source;
        for (size_t c = 0; c < 2; c++) rows[t][c] = merge->chroma[c] + (size_t)source * width;
        weights[t] = merge->phases[(size_t)t * LANES + row % merge->scale];
    }
    for (size_t x = 0; x < width; x++) {
        float cb = 0, cr = 0;
        for (size_t t = 0; t < TAPS; t++) {
            cb += weights[t] * rows[t][0][x];
            cr += weights[t] * rows[t][1][x];
        }
        for (size_t k = 0; k < COLORS; k++)
            added[k * wide + before + x] = merge->mix[k][0] * cb + merge->mix[k][1] * cr + merge->bias[k];
    }
    for (size_t k = 0; k < COLORS; k++, added += wide) {
        for (size_t x = 0; x < before; x++) added[x] = added[before];
        for (size_t x = before + width; x < wide; x++) added[x] = added[before + width - 1];
    }
}

// A row of one colour: what chroma adds, enlarged, and luma.
static inline void enlarge(
    const merge_t* merge, size_t scale, const float* added, const float* luma, float full, code_t* out
) {
    const size_t length = merge->width * scale;
    lanes_t weights[TAPS];
    memcpy(weights, merge->phases, sizeof weights);
    for (size_t x = 0; x < length; x += LANES, added += LANES / scale) {
        lanes_t values = load(luma, x, length) * merge->gain;
        for (size_t t = 0; t < TAPS; t++) values += weights[t] * repeated(added + t, scale);
        store(values, full, out + x);
    }
}

// The same, compiled for each scale.
static void color(const merge_t* merge, const float* added, const float* luma, float full, code_t* out) {
    switch (merge->scale) {
        case 1:
            enlarge(merge, 1, added, luma, full, out);
            break;
        case 2:
            enlarge(merge, 2, added, luma, full, out);
            break;
        case 4:
            enlarge(merge, 4, added, luma, full, out);
            break;
        default:
            enlarge(merge, 8, added, luma, full, out);
    }
}

// A row of a plane that nothing is added to.
static inline void plain(const float* plane, float gain, float bias, float full, size_t length, code_t* out) {
    for (size_t x = 0; x < length; x += LANES) store(load(plane, x, length) * gain + bias, full, out + x);
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
    const size_t length = merge->width * merge->scale, wide = (length + LANES - 1) / LANES * LANES;
    const size_t colors = merge->chroma[0] ? COLORS : 1, reach = merge->width + TAPS - 1;
    const float full = merge->itemsize == 1 ? 255 : 65535;
    float* added = calloc(COLORS * reach + LANES, sizeof(float));  // whole lanes are read at the end
    code_t* codes = calloc(MAX_CHANNELS * wide, sizeof(code_t));
    const int failed = added == NULL || codes == NULL;
    for (size_t row = first; row < last && !failed; row++) {
        const float* luma = merge->luma + row * length;
        if (colors == 1) {
            plain(luma, merge->gain, merge->bias[0], full, length, codes);
        } else {
            mixed(merge, row, added, reach);
            for (size_t k = 0; k < COLORS; k++) color(merge, added + k * reach, luma, full, codes + k * wide);
        }
        code_t* alpha = codes + colors * wide;
        if (merge->alpha)
            plain(merge->alpha + row * length, full, 0, full, length, alpha);
        else if (merge->channels > colors)
            plain(luma, 0, full, full, length, alpha);
        interleave(
            merge, codes, wide, length, (uint8_t*)out + (row - first) * length * merge->channels * merge->itemsize
        );
    }
    free(added);
    free(codes);
    return failed ? -1 : 0;
}
