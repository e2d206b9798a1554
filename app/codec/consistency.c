// What makes a result agree with its source; consistency.py does the same in numpy, and says what it is.

#include <math.h>
#include <stdlib.h>

#include "merge.h"

enum { STEPS = 4, MAX_SCALE = 8, MARKS = 8, GROUP = 4 };
static const float LEAST_SHARE = 0.15f;

typedef int32_t marks_t __attribute__((vector_size(MARKS * sizeof(int32_t))));

static inline float total(lanes_t v) {
    v += __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
    v += __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3);
    v += __builtin_shufflevector(v, v, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1);
    return v[0] + v[1];
}

// A few source rows are shrunk at a time, because they see mostly the same rows: what each sees and how many see a row.
enum { TOGETHER = 4, SEEN = 4 };

// TOGETHER lines of the enlarged plane, shrunk downwards. `rows` are those that any of them sees, from the first on.
static inline __attribute__((always_inline)) void shrink_down(
    const merge_t* merge,
    size_t scale,
    const float* const rows[],
    float low,
    float high,
    size_t length,
    float* const lines[TOGETHER]
) {
    for (size_t x = 0; x < length; x += LANES) {
        lanes_t sums[TOGETHER] = {{0}};
#pragma GCC unroll 7
        for (size_t a = 0; a < TOGETHER - 1 + SEEN; a++) {
            for (size_t phase = 0; phase < scale; phase++) {
                const float* row = rows[a * scale + phase];
                const lanes_t values = clamped(load(row, x, length), low, high);
                __builtin_prefetch(row + x + 8 * LANES);  // more rows than the CPU prefetches by itself
#pragma GCC unroll 4
                for (size_t i = 0; i < TOGETHER; i++)
                    if (i <= a && a - i < SEEN) sums[i] += merge->shrinking[(a - i) * scale + phase] * values;
            }
        }
        for (size_t i = 0; i < TOGETHER; i++) save(lines[i] + x, sums[i]);
    }
}

// The same, compiled for each scale.
static void shrink_lines(
    const merge_t* merge, const float* const rows[], float low, float high, size_t length, float* const lines[TOGETHER]
) {
    switch (merge->scale) {
        case 2:
            shrink_down(merge, 2, rows, low, high, length, lines);
            break;
        case 4:
            shrink_down(merge, 4, rows, low, high, length, lines);
            break;
        default:
            shrink_down(merge, 8, rows, low, high, length, lines);
    }
}

// A line shrunk, and what is lacking of a source row; `line` begins `before` values before its first.
static void lack(const merge_t* merge, float* line, size_t before, const float* source, float* residual) {
    const size_t scale = merge->scale, length = merge->width * scale, taps = SEEN * scale;
    for (size_t x = 0; x < before; x++) line[x] = line[before];
    for (size_t x = 0; x < taps + LANES; x++) line[before + length + x] = line[before + length - 1];
    for (size_t x = 0; x < merge->width; x++) {
        lanes_t sum = {0};
        for (size_t t = 0; t < taps; t += LANES) sum += load_all(line + x * scale + t) * load_all(merge->shrinking + t);
        residual[x] = source[x] - total(sum);
    }
}

// Source rows [first, last) of what the enlarged plane, clipped, lacks when it is shrunk. 0, or -1: no memory.
int consistency_residual(
    const merge_t* merge, size_t plane, float low, float high, size_t first, size_t last, float* residual
) {
    const size_t scale = merge->scale, width = merge->width, length = width * scale, height = merge->height * scale;
    const size_t before = (size_t)-merge->shrinking_offset;
    // Rows that only source rows from `last` on see may not be there yet.
    const size_t seen = (last + SEEN - 1) * scale - before, end = seen < height ? seen : height;
    const size_t wide = before + whole_lanes(length) + 2 * SEEN * scale + LANES;
    const float *enlarged = plane ? merge->alpha : merge->luma, *source = merge->sources[plane];
    float* memory = calloc(TOGETHER * wide, sizeof(float));
    if (memory == NULL) return -1;
    for (size_t row = first; row < last; row += TOGETHER) {
        const float* rows[(TOGETHER - 1 + SEEN) * MAX_SCALE];
        float* lines[TOGETHER];
        for (size_t t = 0; t < (TOGETHER - 1 + SEEN) * scale; t++) {
            ptrdiff_t at = (ptrdiff_t)(row * scale + t) + merge->shrinking_offset;
            at = at < 0 ? 0 : at < (ptrdiff_t)end ? at : (ptrdiff_t)end - 1;
            rows[t] = enlarged + (size_t)at * length;
        }
        for (size_t i = 0; i < TOGETHER; i++) lines[i] = memory + i * wide + before;
        shrink_lines(merge, rows, low, high, length, lines);
        for (size_t i = 0; i < TOGETHER && row + i < last; i++) {
            const size_t at = (row + i) * width;
            lack(merge, memory + i * wide, before, source + at, residual + at);
        }
    }
    free(memory);
    return 0;
}

// The sum of a block's values, shifted and clipped.
static inline __attribute__((always_inline)) float clipped_sum(
    const float* values, size_t rows, size_t columns, size_t stride, float offset, float full
) {
    float sum = 0;
    for (size_t x = 0; x < columns; x += LANES) {
        lanes_t sums = {0};
        for (size_t row = 0; row < rows; row++) sums += clamped(load_all(values + row * stride + x) + offset, 0, full);
        if (columns - x < LANES)
            for (size_t i = columns - x; i < LANES; i++) sums[i] = 0;
        sum += total(sums);
    }
    return sum;
}

// How many of a block's values, shifted, lie between two limits. Eight at a time: compilers pack wider masks.
static inline __attribute__((always_inline)) int32_t
count_between(const float* values, size_t rows, size_t columns, size_t stride, float offset, float low, float high) {
    const marks_t lane = {0, 1, 2, 3, 4, 5, 6, 7};
    marks_t counts = {0};
    for (size_t x = 0; x < columns; x += MARKS) {
        marks_t found = {0};
        for (size_t row = 0; row < rows; row++) {
            float __attribute__((vector_size(MARKS * sizeof(float)))) shifted;
            memcpy(&shifted, values + row * stride + x, sizeof shifted);
            shifted += offset;
            found -= (shifted > low) & (shifted < high);
        }
        counts += found & (lane < (int32_t)(columns - x));
    }
    return __builtin_reduce_add(counts);
}

// A block whose mean must come near `target`: its first value, and the offset that is to be found.
typedef struct {
    const float* values;
    float target;
    float* offset;
} task_t;

// The offsets of a few blocks of one size. They are found side by side, because each step waits for the one before.
static inline __attribute__((always_inline)) void solve_together(
    const task_t* tasks, size_t number, size_t rows, size_t columns, size_t stride, float full
) {
    const float near = full / 510, edge = full / 1024, count = (float)(rows * columns);
    float offsets[GROUP] = {0};
    for (size_t step = 0, going = number; step < STEPS && going; step++) {
        float errors[GROUP];
        int32_t moving[GROUP];
        for (size_t i = 0; i < number; i++)
            errors[i] = tasks[i].target - clipped_sum(tasks[i].values, rows, columns, stride, offsets[i], full) / count;
        for (size_t i = 0; i < number; i++) {  // what can still move to the side that it has to move to
            const float low = errors[i] > 0 ? -edge : edge;
            moving[i] = count_between(tasks[i].values, rows, columns, stride, offsets[i], low, low + full);
        }
        going = 0;
        for (size_t i = 0; i < number; i++) {  // made up for without a jump, as it grows beyond what is near
            const int far = fabsf(errors[i]) > near;
            const float missing = errors[i] - near * near / errors[i];
            if (far) offsets[i] += missing / fmaxf((float)moving[i] / count, LEAST_SHARE);
            going += far;
        }
    }
    for (size_t i = 0; i < number; i++) *tasks[i].offset = offsets[i];
}

// The same, compiled for whole blocks at each scale.
static void solve(const task_t* tasks, size_t number, size_t rows, size_t columns, size_t stride, float full) {
    const size_t side = number == GROUP && rows == columns ? rows : 0;
    if (side == 2 * BLOCK)
        solve_together(tasks, GROUP, 2 * BLOCK, 2 * BLOCK, stride, full);
    else if (side == 4 * BLOCK)
        solve_together(tasks, GROUP, 4 * BLOCK, 4 * BLOCK, stride, full);
    else if (side == 8 * BLOCK)
        solve_together(tasks, GROUP, 8 * BLOCK, 8 * BLOCK, stride, full);
    else
        for (size_t i = 0; i < number; i++) solve_together(tasks + i, 1, rows, columns, stride, full);
}

// The means of each block of a row of the source: (luma, alpha, chroma) of block columns.
static void source_means(const merge_t* merge, size_t block_row, float* lines, float* means) {
    const float* planes[4] = {merge->sources[0], merge->sources[1], merge->chroma[0], merge->chroma[1]};
    const size_t top = block_row * BLOCK, width = merge->width, columns = blocks_of(width);
    const size_t rows = top + BLOCK < merge->height ? BLOCK : merge->height - top;
    for (size_t p = 0; p < 4; p++, means += columns) {
        if (planes[p] == NULL) continue;
        const float* source = planes[p] + top * width;
        for (size_t x = 0; x < width; x++) lines[x] = source[x];
        for (size_t y = 1; y < rows; y++)
            for (size_t x = 0; x < width; x++) lines[x] += source[y * width + x];
        for (size_t k = 0; k < columns; k++) {
            const size_t left = k * BLOCK, right = left + BLOCK < width ? left + BLOCK : width;
            float sum = 0;
            for (size_t x = left; x < right; x++) sum += lines[x];
            means[k] = sum / (float)(rows * (right - left));
        }
    }
}

size_t consistency_room(const merge_t* merge, size_t wide) {
    return merge->channels * wide + merge->width + 4 * blocks_of(merge->width);
}

void consistency_offsets(
    const merge_t* merge, size_t block_row, const float* values, size_t wide, float* room, float* offsets
) {
    const size_t side = BLOCK * merge->scale, length = merge->width * merge->scale, stride = merge->channels * wide;
    const size_t block_columns = blocks_of(merge->width), channels = computed_channels(merge);
    const size_t below = (merge->height - block_row * BLOCK) * merge->scale, rows = side < below ? side : below;
    const float full = full_scale(merge), near = full / 510;
    float *sums = room, *means = sums + stride, *lines = means + 4 * block_columns;
    memset(sums, 0, channels * wide * sizeof *sums);
    for (size_t y = 0; y < rows; y++)
        for (size_t x = 0; x < channels * wide; x += LANES)
            save(sums + x, load_all(sums + x) + clamped(load_all(values + y * stride + x), 0, full));
    source_means(merge, block_row, lines, means);
    for (size_t c = 0; c < channels; c++) {
        const int alpha = merge->alpha && c + 1 == channels;
        task_t tasks[GROUP];
        size_t number = 0;
        for (size_t k = 0; k < block_columns; k++) {
            const size_t left = k * side, columns = left + side < length ? side : length - left;
            float target = full * means[block_columns + k], sum = 0, *offset = offsets + c * block_columns + k;
            if (!alpha) target = merge->gain * means[k] + merge->bias[c];
            if (!alpha && merge->chroma[0])
                target +=
                    merge->mix[c][0] * means[2 * block_columns + k] + merge->mix[c][1] * means[3 * block_columns + k];
            for (size_t x = left; x < left + columns; x++) sum += sums[c * wide + x];
            *offset = 0;
            const task_t task = {values + c * wide + left, target, offset};
            const int agrees = fabsf(target - sum / (float)(rows * columns)) <= near;
            if (!agrees && columns < side) {
                solve(&task, 1, rows, columns, stride, full);
            } else if (!agrees) {
                tasks[number++] = task;
                if (number == GROUP) solve(tasks, number, rows, columns, stride, full), number = 0;
            }
        }
        solve(tasks, number, rows, side < length ? side : length, stride, full);
    }
}
