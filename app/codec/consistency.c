// What makes a result agree with its source; consistency.py does the same in numpy, and says what it is.

#include <math.h>
#include <stdlib.h>

#include "merge.h"

enum { STEPS = 4, MAX_SCALE = 8 };
static const float LEAST_SHARE = 0.15f;

typedef int32_t marks_t __attribute__((vector_size(LANES * sizeof(int32_t))));

static inline float total(lanes_t v) {
    v += __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
    v += __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3);
    v += __builtin_shufflevector(v, v, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1);
    return v[0] + v[1];
}

// Source rows [first, last) of what the enlarged plane, clipped, lacks when it is shrunk. 0, or -1: no memory.
int consistency_residual(
    const merge_t* merge, size_t plane, float low, float high, size_t first, size_t last, float* residual
) {
    const size_t scale = merge->scale, width = merge->width, length = width * scale, taps = 4 * scale;
    const size_t before = (size_t)-merge->shrinking_offset, wide = whole_lanes(length), lines = merge->height * scale;
    const float *enlarged = plane ? merge->alpha : merge->luma, *source = merge->sources[plane];
    float* line = calloc(before + wide + 2 * taps + LANES, sizeof(float));
    if (line == NULL) return -1;
    for (size_t row = first; row < last; row++) {
        const float* rows[4 * MAX_SCALE];
        for (size_t t = 0; t < taps; t++) {
            ptrdiff_t at = (ptrdiff_t)(row * scale + t) + merge->shrinking_offset;
            at = at < 0 ? 0 : at < (ptrdiff_t)lines ? at : (ptrdiff_t)lines - 1;
            rows[t] = enlarged + (size_t)at * length;
        }
        for (size_t x = 0; x < length; x += LANES) {
            lanes_t sum = {0};
            for (size_t t = 0; t < taps; t++) sum += merge->shrinking[t] * clamped(load(rows[t], x, length), low, high);
            save(line + before + x, sum);
        }
        for (size_t x = 0; x < before; x++) line[x] = line[before];
        for (size_t x = 0; x < taps + LANES; x++) line[before + length + x] = line[before + length - 1];
        for (size_t x = 0; x < width; x++) {
            lanes_t sum = {0};
            for (size_t t = 0; t < taps; t += LANES)
                sum += load_all(line + x * scale + t) * load_all(merge->shrinking + t);
            residual[row * width + x] = source[row * width + x] - total(sum);
        }
    }
    free(line);
    return 0;
}

// One channel of a block of the result: where its values begin, and how they lie.
typedef struct {
    const float* values;
    size_t rows, columns, stride;  // the last from a row to the next
} block_t;

// The mean of a block that is shifted and clipped, and the shares of it that can still be raised and lowered.
static void look(const block_t* block, float offset, float full, float* mean, float* up, float* down) {
    const marks_t lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const float edge = full / 1024;
    float sum = 0;
    int32_t rising = 0, falling = 0;
    for (size_t x = 0; x < block->columns; x += LANES) {
        lanes_t sums = {0};
        marks_t ups = {0}, downs = {0};
        for (size_t row = 0; row < block->rows; row++) {
            const lanes_t values = load_all(block->values + row * block->stride + x) + offset;
            sums += clamped(values, 0, full);
            ups -= (values > -edge) & (values < full - edge);
            downs -= (values > edge) & (values < full + edge);
        }
        const marks_t there = lane < (int32_t)(block->columns - x);
        sum += total((lanes_t)((marks_t)sums & there));
        rising += __builtin_reduce_add(ups & there);
        falling += __builtin_reduce_add(downs & there);
    }
    const float count = (float)(block->rows * block->columns);
    *mean = sum / count, *up = (float)rising / count, *down = (float)falling / count;
}

// The offset that brings a block's mean near `target`.
static float solve(const block_t* block, float target, float full) {
    const float near = full / 510;
    float offset = 0;
    for (size_t step = 0; step < STEPS; step++) {
        float mean, up, down;
        look(block, offset, full, &mean, &up, &down);
        const float error = target - mean;  // made up for without a jump, as it grows beyond what is near
        if (fabsf(error) <= near) break;
        offset += (error - near * near / error) / fmaxf(error > 0 ? up : down, LEAST_SHARE);
    }
    return offset;
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
    for (size_t x = 0; x < channels * wide; x += LANES) {
        lanes_t sum = {0};
        for (size_t y = 0; y < rows; y++) sum += clamped(load_all(values + y * stride + x), 0, full);
        save(sums + x, sum);
    }
    source_means(merge, block_row, lines, means);
    for (size_t c = 0; c < channels; c++) {
        const int alpha = merge->alpha && c + 1 == channels;
        for (size_t k = 0; k < block_columns; k++) {
            const size_t left = k * side, columns = left + side < length ? side : length - left;
            float target = full * means[block_columns + k], sum = 0;
            if (!alpha) target = merge->gain * means[k] + merge->bias[c];
            if (!alpha && merge->chroma[0])
                target +=
                    merge->mix[c][0] * means[2 * block_columns + k] + merge->mix[c][1] * means[3 * block_columns + k];
            for (size_t x = left; x < left + columns; x++) sum += sums[c * wide + x];
            const int agrees = fabsf(target - sum / (float)(rows * columns)) <= near;
            const block_t block = {values + c * wide + left, rows, columns, stride};
            offsets[c * block_columns + k] = agrees ? 0 : solve(&block, target, full);
        }
    }
}
