// LapSRN's folded network in bfloat16 on AMX, one tile at a time, row by row through all layers.
//
// Every layer keeps only the few rows that the next one still needs, so features stay in the cache whatever the tile's
// height, and no row is computed twice.
//
// Positions are counted from the tile's core: row and column 0 are its first. A layer's `border` is how far it reaches
// past the core on every side. Convolutions are valid: each layer's border is smaller than the one before.
//
// What a pair of convolutions adds to is in the rows of its sum: the first of the two has read a row, and the one above
// and below it, before the second one adds to it.

#include <string.h>

#include "amx_blocks.h"

enum {
    ROWS = 8,         // made of a layer at a time
    WAITING = 4,      // rows of a layer that the next one may still need when more are made
    FLAT_PIXELS = 8,  // of the answer to a flat picture, which repeats after 1, 2 or 4
    MAX_LEVELS = 3,
    MAX_CONVS = 31
};

// Weights as tiles: (halves, taps, 2 halves of the inputs, 2 x 16 outputs). The first layer has one tap and 32 inputs,
// a residual 16 outputs, of which 4 count.
typedef struct {
    const bf16* weights;
    const float* bias;
} conv_t;

typedef struct {
    conv_t convs[MAX_CONVS];
    conv_t residual;
    conv_t following[4];  // one for each phase, top left first
    const float* image;   // (4 phases, 9 taps)
    const float* flat;    // what the residual answers to a flat picture: (p, 8, 4 phases), p = 1, 2, 4 at each level
} level_t;

typedef struct {
    int32_t skips;              // whether each level's convolutions are pairs that add to what they started from
    int32_t convs[MAX_LEVELS];  // 64 -> 64 of each level, before its residual
    int32_t margin;
    float slope;
    conv_t entry;
    level_t level[MAX_LEVELS];
} network_t;

// Memory for rows that go `border` past the core, of which `capacity` are kept.
typedef struct {
    bf16* data;
    size_t stride;
    int border, capacity;
} ring_t;

// Rows [-border, height + border) of a layer's output, as wide; those before `done` have been made.
typedef struct {
    ring_t ring;
    int border, height, width, done;
} features_t;

// Luma of one resolution, float32; (0, 0) is the core's first pixel.
typedef struct {
    float* origin;
    size_t stride;
    int border, height, width;
} image_t;

typedef struct {
    features_t features[MAX_CONVS + 1];  // what comes in, then each convolution's output
    image_t image;                       // what comes in
    int border;                          // of the residual
    int done;                            // rows of the residual
} stage_t;

typedef struct {
    stage_t stages[MAX_LEVELS + 1];  // the last one has an image only
    bf16* differences;
    bf16* spare;      // a row that nobody reads
    float* residual;  // two rows of four phases
    size_t bytes;
} plan_t;

static int round_up(int value, int unit) { return (value + unit - 1) / unit * unit; }
static int minimum(int a, int b) { return a < b ? a : b; }
static int maximum(int a, int b) { return a > b ? a : b; }

// Whether a layer's output is added to what came in two layers before.
static int adds(const network_t* network, int layer) { return network->skips && layer && layer % 2 == 0; }

static bf16* pixel_of(const features_t* features, int y, int x) {
    const ring_t* ring = &features->ring;
    size_t row = (size_t)((y + ring->border) % ring->capacity);
    return ring->data + row * ring->stride + (size_t)(x + ring->border) * CHANNELS;
}

static float* image_row(const image_t* image, int y) { return image->origin + (ptrdiff_t)y * (ptrdiff_t)image->stride; }

// How many rows can be made now of what has come in: pairs, until the last row that is wanted can be made.
static int rows_ready(const features_t* from, int done, int end) {
    int ready = maximum(0, minimum(from->done - 1, end) - done);
    return minimum(ready < end - done ? ready & ~1 : ready, ROWS);
}

// The four rows that rows y and y + 1 see. Where there is no such row, any: its output goes to nobody.
static void rows_seen(const features_t* from, int y, int x, bf16* rows[4]) {
    int last = from->height + from->border - 1;
    for (int i = 0; i < 4; i++) rows[i] = pixel_of(from, minimum(y - 1 + i, last), x);
}

// One pair of rows of a 64 -> 64 convolution: see convolve_block. `step` is from a pixel to the next.
static void convolve_rows(
    const features_t* from,
    int y,
    int border,
    int half,
    const conv_t* conv,
    int add,
    float slope,
    bf16* out[2],
    size_t step
) {
    const bf16* weights = conv->weights + half * TAPS * 4 * TILE;
    const float* bias = conv->bias + half * HALF;
    bf16 *rows[4], *pixels[2] = {out[0] + half * HALF, out[1] + half * HALF};
    rows_seen(from, y, -border - 1, rows);
    for (int x = 0; x < from->width + 2 * border; x += BLOCK) {
        convolve_block(rows, weights, bias, add, _mm512_set1_ps(slope), pixels, step);
        for (int i = 0; i < 4; i++) rows[i] += BLOCK * CHANNELS;
        for (int i = 0; i < 2; i++) pixels[i] += BLOCK * step;
    }
}

// A 64 -> 64 convolution, of as many rows as can be.
static void convolve(plan_t* plan, const features_t* from, features_t* to, const conv_t* conv, int add, float slope) {
    int count = rows_ready(from, to->done, to->height + to->border);
    for (int half = 0; half < 2; half++) {
        for (int y = to->done; y < to->done + count; y += 2) {
            bf16* second = y + 1 < to->done + count ? pixel_of(to, y + 1, -to->border) : plan->spare;
            bf16* out[2] = {pixel_of(to, y, -to->border), second};
            convolve_rows(from, y, to->border, half, conv, add, slope, out, CHANNELS);
        }
    }
    to->done += count;
}

// A 64 -> 4 x 64 convolution with LeakyReLU, its four phases laid out as pixels of the next level.
static void convolve_to_next(
    plan_t* plan, const features_t* from, features_t* to, const conv_t phases[4], float slope
) {
    int border = to->border / 2, done = to->done / 2;
    int count = rows_ready(from, done, from->height + border);
    for (int phase = 0; phase < 4; phase++) {
        for (int half = 0; half < 2; half++) {
            for (int y = done; y < done + count; y += 2) {
                int below = 2 * y + phase / 2, left = phase % 2 - to->border;
                bf16* second = y + 1 < done + count ? pixel_of(to, below + 2, left) : plan->spare;
                bf16* out[2] = {pixel_of(to, below, left), second};
                convolve_rows(from, y, border, half, &phases[phase], 0, slope, out, 2 * CHANNELS);
            }
        }
    }
    to->done += 2 * count;
}

// The first layer's next rows.
static void convolve_entry(plan_t* plan, const network_t* network) {
    features_t* to = &plan->stages[0].features[0];
    const image_t* luma = &plan->stages[0].image;
    int width = to->width + 2 * to->border, end = minimum(to->done + ROWS, to->height + to->border);
    for (; to->done < end; to->done++) {
        for (int x = 0; x < width; x++) {
            const float* rows[3];
            for (int i = 0; i < 3; i++) rows[i] = image_row(luma, to->done - 1 + i) - to->border - 1 + x;
            differences_of(rows, plan->differences + HALF * x);
        }
        for (int x = 0; x < width; x += BLOCK) {
            const conv_t* entry = &network->entry;
            bf16* out = pixel_of(to, to->done, x - to->border);
            entry_block(plan->differences + HALF * x, entry->weights, entry->bias, _mm512_set1_ps(network->slope), out);
        }
    }
}

// Row y of the image, twice as large, with the residual added.
static void upsample_row(
    const image_t* from, const level_t* level, int period, const float* residual, int y, image_t* to
) {
    int border = to->border / 2, width = from->width + 2 * border;
    const float* flat = level->flat + 4 * (FLAT_PIXELS * (y & (period - 1)) + (-border & (period - 1)));
    for (int x = 0; x < width; x += BLOCK) {
        const float* rows[3];
        float* out[2];
        for (int i = 0; i < 3; i++) rows[i] = image_row(from, y - 1 + i) - border - 1 + x;
        for (int i = 0; i < 2; i++) out[i] = image_row(to, 2 * y + i) - to->border + 2 * x;
        int pixels = minimum(BLOCK, width - x);
        image_block(rows, level->image, residual + 4 * x, _mm512_loadu_ps(flat), pixels, out);
    }
}

// The residual of as many rows as can be, and the image with it.
static void add_residual(plan_t* plan, int index, const network_t* network) {
    stage_t* stage = &plan->stages[index];
    const features_t* from = &stage->features[network->convs[index]];
    const level_t* level = &network->level[index];
    int width = from->width + 2 * stage->border;
    int count = rows_ready(from, stage->done, from->height + stage->border);
    size_t row = 4 * (size_t)round_up(width, 2 * BLOCK);
    for (int y = stage->done; y < stage->done + count; y += 2) {
        bf16* rows[4];
        rows_seen(from, y, -stage->border - 1, rows);
        for (int x = 0; x < width; x += 2 * BLOCK) {
            float* out[2] = {plan->residual + 4 * x, plan->residual + row + 4 * x};
            residual_block(rows, level->residual.weights, level->residual.bias, out);
            for (int i = 0; i < 4; i++) rows[i] += 2 * BLOCK * CHANNELS;
        }
        for (int i = 0; i < minimum(2, stage->done + count - y); i++) {
            upsample_row(&stage->image, level, 1 << index, plan->residual + row * i, y + i, &stage[1].image);
        }
    }
    stage->done += count;
}

static void* reserve(char* memory, plan_t* plan, size_t bytes) {
    void* address = (void*)((uintptr_t)memory + plan->bytes);  // where none is given, only sizes count
    plan->bytes += (bytes + 63) / 64 * 64;
    return address;
}

// Eight rows are made of a layer at a time, or sixteen where rows come in by twos. Rows that pairs add to are kept
// until the last sum of the level has been read; every convolution is at most two rows behind the one before.
static ring_t make_ring(
    char* memory, plan_t* plan, const network_t* network, int index, int layer, int border, int columns
) {
    int capacity = (layer == 0 && index > 0 ? 2 : 1) * ROWS + WAITING;
    if (layer == 0 && network->skips) capacity += 2 * network->convs[index];
    size_t stride = (size_t)columns * CHANNELS;
    return (ring_t){reserve(memory, plan, stride * capacity * sizeof(bf16)), stride, border, capacity};
}

// Lay out every buffer from `memory` on; plan->bytes is how much there must be.
static void make_plan(plan_t* plan, const network_t* network, int levels, int height, int width, char* memory) {
    int widest = 0;
    int needed = 0;  // how far what comes into the next level must reach
    plan->bytes = 0;
    for (int index = levels - 1; index >= 0; index--) {
        stage_t* stage = &plan->stages[index];
        int last = index == levels - 1;
        stage->border = last ? 0 : (stage[1].border + 2) / 2;
        int border = maximum(stage->border, last ? 0 : (needed + 1) / 2) + 1 + network->convs[index];
        for (int i = 0; i <= network->convs[index]; i++) {
            features_t* features = &stage->features[i];
            int reach = i == 0 && index > 0 ? round_up(border, 2) : border - i;
            int padded = round_up((width << index) + 2 * reach, 2 * BLOCK) + 2 * BLOCK;
            ring_t ring =
                adds(network, i) ? features[-2].ring : make_ring(memory, plan, network, index, i, reach, padded);
            *features = (features_t){ring, reach, height << index, width << index, -reach};
            widest = maximum(widest, padded);
        }
        stage->done = -stage->border;
        needed = border;
        image_t* image = &stage[1].image;
        *image = (image_t){NULL, 0, 2 * stage->border, 2 * height << index, 2 * width << index};
        if (!last) {
            image->stride = image->width + 2 * image->border;
            float* corner = reserve(memory, plan, image->stride * (image->height + 2 * image->border) * sizeof(float));
            image->origin = corner + image->border * (image->stride + 1);
        }
    }
    plan->differences = reserve(memory, plan, (size_t)widest * HALF * sizeof(bf16));
    plan->spare = reserve(memory, plan, (size_t)(2 * widest + 2) * CHANNELS * sizeof(bf16));
    plan->residual = reserve(memory, plan, (size_t)widest * 2 * 4 * sizeof(float));
}

// Take what has come in at a level through its layers, and twice as many rows of the next level after it.
static void advance(plan_t* plan, const network_t* network, int index, int levels) {
    const level_t* level = &network->level[index];
    features_t* features = plan->stages[index].features;
    int convs = network->convs[index];
    for (int i = 0; i < convs; i++) {
        convolve(plan, &features[i], &features[i + 1], &level->convs[i], adds(network, i + 1), network->slope);
    }
    add_residual(plan, index, network);
    if (index + 1 < levels) {
        features_t* next = plan->stages[index + 1].features;
        convolve_to_next(plan, &features[convs], next, level->following, network->slope);
        advance(plan, network, index + 1, levels);
        advance(plan, network, index + 1, levels);
    }
}

// How many bytes of memory lapsrn_run needs for a core of this size.
size_t lapsrn_memory(const network_t* network, int levels, int height, int width) {
    plan_t plan;
    make_plan(&plan, network, levels, height, width, NULL);
    return plan.bytes + 64;
}

// For a process that may use the tile registers. Luma (height + 2 margin, width + 2 margin) to `outputs`, one (height
// << i, width << i) for each i in 1..levels.
void lapsrn_run(
    const network_t* network, int levels, int height, int width, const float* luma, float* const outputs[], char* memory
) {
    plan_t plan;
    make_plan(&plan, network, levels, height, width, (char*)(((uintptr_t)memory + 63) & ~(uintptr_t)63));
    int margin = network->margin;
    size_t stride = (size_t)width + 2 * margin;
    plan.stages[0].image = (image_t){(float*)luma + margin * (stride + 1), stride, margin, height, width};
    image_t* largest = &plan.stages[levels].image;
    largest->origin = outputs[levels - 1];
    largest->stride = largest->width;
    memset(plan.differences, 0, (size_t)round_up(width + 2 * margin, BLOCK) * HALF * sizeof(bf16));
    _tile_loadconfig(&FULL_TILES);
    while (plan.stages[levels - 1].done < largest->height / 2) {
        convolve_entry(&plan, network);
        advance(&plan, network, 0, levels);
    }
    _tile_release();
    for (int index = 1; index < levels; index++) {
        const image_t* image = &plan.stages[index].image;
        for (int y = 0; y < image->height; y++) {
            memcpy(outputs[index - 1] + (size_t)y * image->width, image_row(image, y), image->width * sizeof(float));
        }
    }
}
