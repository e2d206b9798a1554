// The network as winograd.c is given it, and for a tile, how far each of its layers goes and where its rows are kept.
//
// Positions are counted from the tile's core: row and column 0 are its first. A layer's `reach` is how far it goes past
// the core on every side. Convolutions are valid: each layer reaches less far than the one before.
//
// All 36 inputs of a patch decide the last bits of each of its outputs. For a pixel to be the same in any tile, patches
// must lie on the picture's own grid, and every patch in use must see nothing but the picture. Cores therefore begin
// and end at multiples of four, and a layer reaches two pixels further than the next one: one that the next one's
// kernel sees, and one that completes the patches.

#pragma once

#include "winograd_ends.h"

enum { MAX_LEVELS = 3, MAX_CONVS = 31 };

// Weights (strips of outputs, 36 points, 64 inputs, a strip), transformed.
typedef struct {
    const float* weights;
    const float* bias;
} conv_t;

typedef struct {
    conv_t convs[MAX_CONVS];
    conv_t residual;     // as residual_pixels has them
    conv_t following;    // 4 phases of 64 outputs, top left first
    const float* image;  // (4 phases, 9 taps)
    const float* flat;   // what the residual answers to a flat picture: (p, p, 4 phases), p = 4, 8, 16 at each level
} level_t;

typedef struct {
    int32_t levels;
    int32_t skips;              // whether each level's convolutions are pairs that add to what they started from
    int32_t convs[MAX_LEVELS];  // 64 -> 64 of each level, before its residual
    float slope;
    conv_t entry;  // as entry_pixel has them
    level_t level[MAX_LEVELS];
} network_t;

// How far a level's layers go past the core.
typedef struct {
    int features[MAX_CONVS + 1];  // what comes in, then each convolution's output
    int following;                // at this level's resolution
    int residual;
} reaches_t;

// Memory for rows of `reach` pixels on each side of the core, of which `capacity` are kept.
typedef struct {
    float* data;
    size_t stride;
    int reach, capacity;
} ring_t;

// Rows [-reach, height + reach) of a layer's output, as wide; those before `done` have been made.
typedef struct {
    ring_t ring;
    int reach, height, width, done;
} features_t;

// Luma of one resolution; (0, 0) is the core's first pixel.
typedef struct {
    float* origin;
    size_t stride;
    int reach, height, width;
} image_t;

typedef struct {
    features_t features[MAX_CONVS + 1];
    image_t image;  // what comes in
    int reach;      // of the residual
    int done;       // rows of the residual
} stage_t;

typedef struct {
    const network_t* network;
    int levels;
    float* const* outputs;
    stage_t stages[MAX_LEVELS];
    float* transformed;        // inputs of a block of patches
    float* sums;               // of a strip of its outputs
    float* residual;           // a row of four phases
    float* upsampled[PHASES];  // a row of the image
    float* rows[2];            // of the level's output
    size_t bytes;
} plan_t;

static int round_up(int value, int unit) { return (value + unit - 1) / unit * unit; }
static int minimum(int a, int b) { return a < b ? a : b; }
static int maximum(int a, int b) { return a > b ? a : b; }

// Whether a layer's output is added to what came in two layers before.
static int adds(const network_t* network, int layer) { return network->skips && layer && layer % 2 == 0; }

static float* pixel_of(const features_t* features, int y, int x) {
    const ring_t* ring = &features->ring;
    return ring->data + (size_t)((y + ring->reach) % ring->capacity) * ring->stride +
           (size_t)(x + ring->reach) * CHANNELS;
}

static float* image_row(const image_t* image, int y) { return image->origin + (ptrdiff_t)y * (ptrdiff_t)image->stride; }

// The least reach of at least `needed` that fills patches; with `whole`, the same patches as that larger reach fills.
static int patched(int needed, const int* whole) {
    return whole ? *whole - (*whole - needed) / SIDE * SIDE : round_up(needed, SIDE / 2);
}

// From the last level's residual back to the first layer. `whole`, where it is given, is of all of the network's
// levels, whose patches fewer levels have as well.
static void find_reaches(const network_t* network, int levels, const reaches_t* whole, reaches_t* reaches) {
    for (int index = levels - 1; index >= 0; index--) {
        reaches_t* here = &reaches[index];
        const reaches_t* all = whole ? &whole[index] : NULL;
        int last = index == levels - 1;
        here->residual = last ? 0 : (reaches[index + 1].residual + 2) / 2;
        here->following = last ? 0 : patched((reaches[index + 1].features[0] + 1) / 2, all ? &all->following : NULL);
        int needed = maximum(here->residual, here->following) + 1;
        for (int i = network->convs[index]; i > 0; i--) {
            here->features[i] = patched(needed, all ? &all->features[i] : NULL);
            needed = here->features[i] + 1;
        }
        here->features[0] = needed;
    }
}

// The next `values` from `memory` on, which may be NULL where only the bytes are to be counted.
static float* reserve(char* memory, plan_t* plan, size_t values) {
    uintptr_t address = (uintptr_t)memory + plan->bytes;
    plan->bytes += (values * sizeof(float) + 63) / 64 * 64;
    return (float*)address;
}

// Each patch row goes through all later layers before the next one is made, so a layer has eight rows in use at most,
// or twice as many where rows come in by eights. What a pair of convolutions adds to is in the rows of its sum: the
// first of the two has read a row, and the one above and below it, before the second one adds to it. Those rows are
// kept until the last sum of the level has been read; every pair is four rows behind the one before.
static ring_t make_ring(char* memory, plan_t* plan, int index, int layer, int reach, int columns) {
    int capacity = (layer == 0 && index > 0 ? 4 : 2) * SIDE;
    if (layer == 0 && plan->network->skips) capacity += plan->network->convs[index] / 2 * SIDE;
    // A cache line between rows keeps the six that a patch sees out of each other's sets of the cache.
    size_t stride = (size_t)(columns + 2 * reach) * CHANNELS + LINE;
    return (ring_t){reserve(memory, plan, stride * capacity), stride, reach, capacity};
}

// Lay out every buffer from `memory` on; plan->bytes is how much there must be.
static void make_plan(plan_t* plan, const network_t* network, int levels, int height, int width, char* memory) {
    reaches_t whole[MAX_LEVELS], reaches[MAX_LEVELS];
    find_reaches(network, network->levels, NULL, whole);
    find_reaches(network, levels, whole, reaches);
    *plan = (plan_t){.network = network, .levels = levels};
    int widest = 0;  // residual
    for (int index = 0; index < levels; index++) {
        stage_t* stage = &plan->stages[index];
        int rows = height << index, columns = width << index;
        stage->reach = reaches[index].residual;
        stage->done = -stage->reach;
        widest = maximum(widest, columns + 2 * stage->reach);
        for (int i = 0; i <= network->convs[index]; i++) {
            features_t* features = &stage->features[i];
            int reach = i == 0 && index > 0 ? 2 * reaches[index - 1].following : reaches[index].features[i];
            ring_t ring = adds(network, i) ? features[-2].ring : make_ring(memory, plan, index, i, reach, columns);
            *features = (features_t){ring, reach, rows, columns, -reach};
        }
        int reach = index ? 2 * reaches[index - 1].residual : reaches[0].features[0] + 1;
        size_t stride = columns + 2 * reach + LANES;  // upsample_pixels reads whole vectors
        float* corner = reserve(memory, plan, stride * (rows + 2 * reach));
        stage->image = (image_t){corner + reach * (stride + 1), stride, reach, rows, columns};
    }
    plan->transformed = reserve(memory, plan, POINTS * POINT);
    plan->sums = reserve(memory, plan, POINTS * SUM);
    plan->residual = reserve(memory, plan, (size_t)widest * PHASES);
    for (int i = 0; i < PHASES; i++) plan->upsampled[i] = reserve(memory, plan, widest + LANES);
    for (int i = 0; i < 2; i++) plan->rows[i] = reserve(memory, plan, 2 * (size_t)widest);
}
