// LapSRN's folded network in float32 with Winograd's convolutions, one tile at a time, a row of patches at a time
// through all layers.
//
// Every layer keeps only the few rows that the next one still needs, so no row is computed twice and features take no
// more memory in a higher tile.

#include <string.h>

#include "winograd_ends.h"
#include "winograd_plan.h"

// A patch row of a convolution with LeakyReLU, or with `add` added to what is there. `to` has the four rows of each of
// `phases` x 64 outputs, `step` is from a pixel to the next.
static void convolve(
    plan_t* plan,
    const features_t* from,
    int y,
    int reach,
    const conv_t* conv,
    int add,
    int phases,
    float* const to[][SIDE],
    size_t step
) {
    int patches = (from->width + 2 * reach) / SIDE, blocks = (patches + BLOCK - 1) / BLOCK;
    for (int block = 0; block < blocks; block++) {
        int first = patches * block / blocks, count = patches * (block + 1) / blocks - first;
        const float *rows[SEEN], *weights = conv->weights, *bias = conv->bias;
        for (int i = 0; i < SEEN; i++) {
            rows[i] = pixel_of(from, y - 1 + i, first * SIDE - reach - 1);
        }
        transform_inputs(rows, count, plan->transformed);
        for (int phase = 0; phase < phases; phase++) {
            for (int strip = 0; strip < CHANNELS; strip += STRIP) {
                float* out[SIDE];
                for (int i = 0; i < SIDE; i++) out[i] = to[phase][i] + first * SIDE * step + strip;
                multiply(plan->transformed, weights, count, plan->sums);
                if (add) {
                    transform_outputs(1, plan->sums, count, bias, 0, out, step);
                } else {
                    transform_outputs(0, plan->sums, count, bias, plan->network->slope, out, step);
                }
                weights += POINTS * CHANNELS * STRIP;
                bias += STRIP;
            }
        }
    }
}

// Whether the patch row at y can be made of what has come in, and is wanted.
static int row_ready(const features_t* from, int y, int reach) {
    return y < from->height + reach && y + SIDE < from->done;
}

// The next patch row of a 64 -> 64 convolution, if it can be made.
static int convolve_next(plan_t* plan, const features_t* from, features_t* to, const conv_t* conv, int add) {
    if (!row_ready(from, to->done, to->reach)) return 0;
    float* rows[1][SIDE];
    for (int i = 0; i < SIDE; i++) rows[0][i] = pixel_of(to, to->done + i, -to->reach);
    convolve(plan, from, to->done, to->reach, conv, add, 1, rows, CHANNELS);
    to->done += SIDE;
    return 1;
}

// The same of a 64 -> 4 x 64 convolution, its four phases laid out as pixels of the next level.
static int convolve_to_next_level(plan_t* plan, const features_t* from, features_t* to, const conv_t* conv) {
    int y = to->done / 2, reach = to->reach / 2;
    if (!row_ready(from, y, reach)) return 0;
    float* rows[PHASES][SIDE];
    for (int phase = 0; phase < PHASES; phase++) {
        for (int i = 0; i < SIDE; i++) {
            rows[phase][i] = pixel_of(to, 2 * (y + i) + phase / 2, phase % 2 - to->reach);
        }
    }
    convolve(plan, from, y, reach, conv, 0, PHASES, rows, 2 * CHANNELS);
    to->done += 2 * SIDE;
    return 1;
}

// The first layer's next rows.
static void convolve_entry(plan_t* plan) {
    features_t* to = &plan->stages[0].features[0];
    const conv_t* entry = &plan->network->entry;
    int end = minimum(to->done + SIDE, to->height + to->reach);
    for (; to->done < end; to->done++) {
        float* out = pixel_of(to, to->done, -to->reach);
        for (int x = -to->reach; x < to->width + to->reach; x++, out += CHANNELS) {
            const float* rows[3];
            for (int i = 0; i < 3; i++) rows[i] = image_row(&plan->stages[0].image, to->done - 1 + i) + x - 1;
            entry_pixel(rows, entry->weights, entry->bias, plan->network->slope, out);
        }
    }
}

// Row y of the residual, four phases a pixel, of a level's last features.
static void make_residual(plan_t* plan, const stage_t* stage, const features_t* from, const conv_t* conv, int y) {
    const float* rows[3];
    float* out = plan->residual;
    vec4 bias = *(const vec4*)conv->bias;
    for (int i = 0; i < 3; i++) rows[i] = pixel_of(from, y - 1 + i, -stage->reach - 1);
    for (int left = from->width + 2 * stage->reach; left > 0;) {
        int count = left < PIXELS ? 1 : PIXELS;
        if (count == PIXELS) {
            residual_pixels(PIXELS, rows, conv->weights, bias, out);
        } else {
            residual_pixels(1, rows, conv->weights, bias, out);
        }
        for (int i = 0; i < 3; i++) rows[i] += count * CHANNELS;
        out += count * PHASES;
        left -= count;
    }
}

// Row y of a level's image, twice as large and with the residual, as two rows of what comes out.
static void make_rows(plan_t* plan, const stage_t* stage, const level_t* level, int period, int y) {
    int width = stage->image.width + 2 * stage->reach;
    const float* flat = level->flat + PHASES * period * (y & (period - 1));
    for (int x = 0; x < width; x += LANES) {
        const float* rows[3];
        float* upsampled[PHASES];
        for (int i = 0; i < 3; i++) rows[i] = image_row(&stage->image, y - 1 + i) - stage->reach - 1 + x;
        for (int phase = 0; phase < PHASES; phase++) upsampled[phase] = plan->upsampled[phase] + x;
        upsample_pixels(rows, level->image, upsampled);
    }
    for (int x = 0; x < width; x++) {
        const float* answer = flat + PHASES * ((x - stage->reach) & (period - 1));
        for (int phase = 0; phase < PHASES; phase++) {
            float added = plan->residual[PHASES * x + phase] - answer[phase];
            plan->rows[phase / 2][2 * x + phase % 2] = plan->upsampled[phase][x] + added;
        }
    }
}

// A row of a level's output goes to whoever asked for it, and on to the next level with what is round the core.
static void put_row(plan_t* plan, int index, int y, const float* row) {
    const stage_t* stage = &plan->stages[index];
    int reach = 2 * stage->reach, width = 2 * stage->image.width;
    if (y >= 0 && y < 2 * stage->image.height) {
        memcpy(plan->outputs[index] + (size_t)y * width, row + reach, width * sizeof(float));
    }
    if (index + 1 < plan->levels) {
        memcpy(image_row(&stage[1].image, y) - reach, row, (width + 2 * reach) * sizeof(float));
    }
}

// The residual of as many rows as can be, and the image with it.
static void add_residual(plan_t* plan, int index) {
    stage_t* stage = &plan->stages[index];
    const features_t* from = &stage->features[plan->network->convs[index]];
    const level_t* level = &plan->network->level[index];
    int end = minimum(from->done - 1, from->height + stage->reach);
    for (; stage->done < end; stage->done++) {
        make_residual(plan, stage, from, &level->residual, stage->done);
        make_rows(plan, stage, level, SIDE << index, stage->done);
        for (int i = 0; i < 2; i++) put_row(plan, index, 2 * stage->done + i, plan->rows[i]);
    }
}

// Take what has come in at a layer as far as it goes: each patch row through all later layers before the next one is
// made.
static void advance(plan_t* plan, int index, int layer) {
    stage_t* stage = &plan->stages[index];
    const level_t* level = &plan->network->level[index];
    features_t* from = &stage->features[layer];
    if (layer < plan->network->convs[index]) {
        int add = adds(plan->network, layer + 1);
        while (convolve_next(plan, from, from + 1, &level->convs[layer], add)) advance(plan, index, layer + 1);
        return;
    }
    add_residual(plan, index);
    if (index + 1 < plan->levels) {
        while (convolve_to_next_level(plan, from, stage[1].features, &level->following)) advance(plan, index + 1, 0);
    }
}

// How many outputs a strip of weights has.
int lapsrn_strip(void) { return STRIP; }

// How far lapsrn_run sees past the core.
int lapsrn_margin(const network_t* network) {
    reaches_t reaches[MAX_LEVELS];
    find_reaches(network, network->levels, NULL, reaches);
    return reaches[0].features[0] + 1;
}

// How many bytes of memory lapsrn_run needs for a core of this size.
size_t lapsrn_memory(const network_t* network, int levels, int height, int width) {
    plan_t plan;
    make_plan(&plan, network, levels, height, width, NULL);
    return plan.bytes + 64;
}

// Luma (height + 2 margin, width + 2 margin), height and width multiples of four, to `outputs`, one (height << i, width
// << i) for each i in 1..levels.
void lapsrn_run(
    const network_t* network, int levels, int height, int width, const float* luma, float* const outputs[], char* memory
) {
    plan_t plan;
    make_plan(&plan, network, levels, height, width, (char*)(((uintptr_t)memory + 63) & ~(uintptr_t)63));
    plan.outputs = outputs;
    const image_t* image = &plan.stages[0].image;
    int margin = lapsrn_margin(network), reach = image->reach, columns = width + 2 * reach;
    for (int y = -reach; y < height + reach; y++) {
        const float* row = luma + (size_t)(y + margin) * (width + 2 * margin) + margin - reach;
        memcpy(image_row(image, y) - reach, row, columns * sizeof(float));
    }
    const stage_t* last = &plan.stages[levels - 1];
    while (last->done < last->image.height) {
        convolve_entry(&plan);
        advance(&plan, 0, 0);
    }
}
