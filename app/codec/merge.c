// Planes to samples, row by row; merge.py does the same in numpy where this is not compiled.

#include "merge.h"

#include <stdlib.h>

enum { SLACK = 2 * LANES };  // values behind each channel of a row that may be written to

typedef uint16_t code_t;
typedef uint32_t bits_t __attribute__((vector_size(LANES * sizeof(uint32_t))));
typedef code_t codes_t __attribute__((vector_size(LANES * sizeof(code_t))));
typedef uint8_t bytes_t __attribute__((vector_size(LANES)));

// Rounds to the nearest codes, ties to even.
static inline bits_t rounded(lanes_t values, float full) {
    values = clamped(values, 0, full);
    values += 0x1.8p23f;  // floats of this size are whole numbers, and end in their bits
    bits_t bits;
    memcpy(&bits, &values, sizeof bits);
    return bits;
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
static inline __attribute__((always_inline)) void mixed(
    const merge_t* merge, const float* residual, size_t row, float* restrict added, size_t wide
) {
    const float* planes[3] = {merge->chroma[0], merge->chroma[1], residual};
    const size_t before = (size_t)-merge->offset, width = merge->width;
    const float* rows[TAPS][3];
    size_t at[TAPS];
    float weights[TAPS];
    find_taps(merge, row, at, weights);
    for (size_t t = 0; t < TAPS; t++)
        for (size_t p = 0; p < (residual ? 3 : 2); p++) rows[t][p] = planes[p] + at[t];
    for (size_t x = 0; x < width; x++) {
        float cb = 0, cr = 0, y = 0;
        for (size_t t = 0; t < TAPS; t++) {
            cb += weights[t] * rows[t][0][x];
            cr += weights[t] * rows[t][1][x];
            if (residual) y += weights[t] * rows[t][2][x];
        }
        for (size_t k = 0; k < COLORS; k++) {
            const float sum = merge->mix[k][0] * cb + merge->mix[k][1] * cr + merge->bias[k];
            added[k * wide + before + x] = residual ? sum + merge->gain * y : sum;
        }
    }
    for (size_t k = 0; k < COLORS; k++) extend(merge, added + k * wide, wide);
}

// What a residual adds to a row of its plane, as above.
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
        save(values + x, sum);
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
        save(values + x, sum);
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

// The codes of a result row, neither clipped nor rounded: (channels, wide).
static void compute(const merge_t* merge, size_t row, float* room, float* values, size_t wide) {
    const size_t length = merge->width * merge->scale, reach = merge->width + TAPS - 1;
    const size_t colors = merge->chroma[0] ? COLORS : 1;
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

// Adds offsets to a row of one channel that lies `down` of the way from the centres of one block row to those of the
// next; bilinearly between the centres. What is behind the row's end is changed, too, by no more than SLACK values.
static inline void shift_by(
    size_t side, size_t columns, const float* above, const float* below, float down, float* between, float* values
) {
    int any = 0;
    for (size_t k = 0; k < columns; k++) {
        between[k] = above[k] + (below[k] - above[k]) * down;
        any |= between[k] != 0;
    }
    if (!any) return;
    for (size_t x = 0; x < side / 2; x++) values[x] += between[0];
    values += side / 2;
    for (size_t k = 1; k < columns; k++, values += side) {
        const float left = between[k - 1], step = between[k] - left;
        if (left == 0 && step == 0) continue;
        for (size_t x = 0; x < side; x++) values[x] += left + step * (((float)x + 0.5f) / (float)side);
    }
    for (size_t x = 0; x < side / 2; x++) values[x] += between[columns - 1];
}

// The same, compiled for each scale.
static void shift(
    const merge_t* merge, const float* above, const float* below, float down, float* between, float* values
) {
    const size_t columns = blocks_of(merge->width);
    switch (merge->scale) {
        case 2:
            shift_by(2 * BLOCK, columns, above, below, down, between, values);
            break;
        case 4:
            shift_by(4 * BLOCK, columns, above, below, down, between, values);
            break;
        default:
            shift_by(8 * BLOCK, columns, above, below, down, between, values);
    }
}

// LANES pixels of three bytes.
static inline void put_rgb(bytes_t r, bytes_t g, bytes_t b, uint8_t* out) {
    const bytes_t low = __builtin_shufflevector(r, g, 0, 16, 0, 1, 17, 0, 2, 18, 0, 3, 19, 0, 4, 20, 0, 5);
    const bytes_t middle = __builtin_shufflevector(g, r, 5, 0, 22, 6, 0, 23, 7, 0, 24, 8, 0, 25, 9, 0, 26, 10);
    const bytes_t high = __builtin_shufflevector(r, g, 0, 11, 27, 0, 12, 28, 0, 13, 29, 0, 14, 30, 0, 15, 31, 0);
    const bytes_t pixels[3] = {
        __builtin_shufflevector(low, b, 0, 1, 16, 3, 4, 17, 6, 7, 18, 9, 10, 19, 12, 13, 20, 15),
        __builtin_shufflevector(middle, b, 0, 21, 2, 3, 22, 5, 6, 23, 8, 9, 24, 11, 12, 25, 14, 15),
        __builtin_shufflevector(high, b, 26, 1, 2, 27, 4, 5, 28, 7, 8, 29, 10, 11, 30, 13, 14, 31),
    };
    memcpy(out, pixels, sizeof pixels);
}

// A row of pixels of `channels` bytes, whose values are `wide` apart; what is behind its end is never written.
static inline __attribute__((always_inline)) void put_bytes(
    const float* values, size_t wide, size_t length, size_t channels, uint8_t* out
) {
    for (size_t x = 0; x < length; x += LANES) {
        bytes_t codes[MAX_CHANNELS];
        uint8_t pixels[LANES * MAX_CHANNELS], *to = length - x < LANES ? pixels : out + x * channels;
        for (size_t c = 0; c < channels; c++)
            codes[c] = __builtin_convertvector(rounded(load_all(values + c * wide + x), 255), bytes_t);
        if (channels == COLORS)
            put_rgb(codes[0], codes[1], codes[2], to);
        else
            for (size_t i = 0; i < LANES; i++)
                for (size_t c = 0; c < channels; c++) to[i * channels + c] = codes[c][i];
        if (to == pixels) memcpy(out + x * channels, pixels, (length - x) * channels);
    }
}

// The same with two bytes a sample.
static inline __attribute__((always_inline)) void put_words(
    const float* values, size_t wide, size_t length, size_t channels, code_t* out
) {
    for (size_t x = 0; x < length; x += LANES) {
        const size_t count = length - x < LANES ? length - x : LANES;
        for (size_t c = 0; c < channels; c++) {
            const codes_t codes = __builtin_convertvector(rounded(load_all(values + c * wide + x), 65535), codes_t);
            for (size_t i = 0; i < count; i++) out[(x + i) * channels + c] = codes[i];
        }
    }
}

// The same, compiled for each number of channels.
static void put_pixels(const merge_t* merge, const float* values, size_t wide, size_t length, void* out) {
    switch (merge->channels * 10 + merge->itemsize) {
        case 11:
            put_bytes(values, wide, length, 1, out);
            break;
        case 21:
            put_bytes(values, wide, length, 2, out);
            break;
        case 31:
            put_bytes(values, wide, length, 3, out);
            break;
        case 41:
            put_bytes(values, wide, length, 4, out);
            break;
        case 12:
            put_words(values, wide, length, 1, out);
            break;
        case 22:
            put_words(values, wide, length, 2, out);
            break;
        case 32:
            put_words(values, wide, length, 3, out);
            break;
        default:
            put_words(values, wide, length, 4, out);
    }
}

// The working memory of one call, for a strip.
typedef struct {
    size_t wide;                     // from a channel of a row to the next
    float *room, *values, *offsets;  // one row, or two block rows; of three block rows
    uint8_t* out;                    // the next row
} desk_t;

// Clips and writes a row.
static void finish_floats(const merge_t* merge, desk_t* desk, const float* values, size_t length) {
    const float full = full_scale(merge);
    float* out = (float*)desk->out;
    for (size_t c = 0; c < merge->channels; c++)
        for (size_t x = 0; x < length; x++) {
            const float value = values[c * desk->wide + x], low = value < 0 ? 0 : value;
            out[x * merge->channels + c] = low > full ? full : low;
        }
}

// Clips, rounds and writes a row.
static void finish(const merge_t* merge, desk_t* desk, const float* values) {
    const size_t length = merge->width * merge->scale;
    if (merge->itemsize == sizeof(float)) {
        finish_floats(merge, desk, values, length);
        desk->out += length * merge->channels * sizeof(float);
        return;
    }
    put_pixels(merge, values, desk->wide, length, desk->out);
    desk->out += length * merge->channels * merge->itemsize;
}

// Source rows [first, last) of the planes, unchanged.
static void as_they_are(const merge_t* merge, size_t first, size_t last, desk_t* desk) {
    for (size_t row = first * merge->scale; row < last * merge->scale; row++) {
        compute(merge, row, desk->room, desk->values, desk->wide);
        finish(merge, desk, desk->values);
    }
}

// Source rows [first, last) so that they agree with the source. A block row is written when the next one's offsets are
// known.
static void in_agreement(const merge_t* merge, size_t first, size_t last, desk_t* desk) {
    const size_t side = BLOCK * merge->scale, blocks = blocks_of(merge->height), columns = blocks_of(merge->width);
    const size_t from = first / BLOCK, to = blocks_of(last), stride = merge->channels * desk->wide;
    const size_t channels = computed_channels(merge), top = first * merge->scale, bottom = last * merge->scale;
    float* between = desk->offsets + 3 * channels * columns;
    for (size_t k = from ? from - 1 : 0; k <= to; k++) {
        if (k < blocks) {
            float* values = desk->values + k % 2 * side * stride;
            for (size_t y = 0; y < side && k * side + y < merge->height * merge->scale; y++)
                compute(merge, k * side + y, desk->room, values + y * stride, desk->wide);
            consistency_offsets(merge, k, values, desk->wide, desk->room, desk->offsets + k % 3 * channels * columns);
        }
        if (k <= from) continue;
        const size_t own = k - 1, above = own ? own - 1 : 0, below = k < blocks ? k : own;
        for (size_t y = 0; y < side; y++) {
            const size_t row = own * side + y;
            if (row < top || row >= bottom) continue;
            const int upper = y < side / 2;
            const float down = ((float)(upper ? y + side / 2 : y - side / 2) + 0.5f) / (float)side;
            float* values = desk->values + own % 2 * side * stride + y * stride;
            for (size_t c = 0; c < channels; c++) {
                const float* high = desk->offsets + ((upper ? above : own) % 3 * channels + c) * columns;
                const float* low = desk->offsets + ((upper ? own : below) % 3 * channels + c) * columns;
                shift(merge, high, low, down, between, values + c * desk->wide);
            }
            finish(merge, desk, values);
        }
    }
}

// Source rows [first, last) to `out`, ((last - first) * scale, width * scale, channels). 0, or -1: no memory.
int merge_rows(const merge_t* merge, size_t first, size_t last, void* out) {
    const int agreeing = merge->residuals[0] != NULL;
    const size_t wide = whole_lanes(merge->width * merge->scale) + SLACK, columns = blocks_of(merge->width);
    const size_t rows = agreeing ? 2 * BLOCK * merge->scale : 1, own_room = COLORS * (merge->width + TAPS - 1) + LANES;
    const size_t their_room = agreeing ? consistency_room(merge, wide) : 0;
    desk_t desk = {
        .wide = wide,
        .room = calloc(own_room > their_room ? own_room : their_room, sizeof(float)),
        .values = calloc(rows * merge->channels * wide, sizeof(float)),
        .offsets = calloc((3 * MAX_CHANNELS + 1) * columns, sizeof(float)),
        .out = out,
    };
    const int failed = desk.room == NULL || desk.values == NULL || desk.offsets == NULL;
    if (!failed) (agreeing ? in_agreement : as_they_are)(merge, first, last, &desk);
    free(desk.room);
    free(desk.values);
    free(desk.offsets);
    return failed ? -1 : 0;
}
