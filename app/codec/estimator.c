// The convolutions of history/estimator.py, and moments of what comes out of each; numpy does the same there, slower.

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

enum { LANES = 8, BLOCKS = 2, PIXELS = 6 };  // as many sums as fit into the registers of AVX2
typedef float Lanes __attribute__((vector_size(LANES * sizeof(float))));

// A convolution without padding: `in` channels to `out`, a multiple of LANES. Its weights are (out / LANES, side, side,
// in, LANES), and after those (out) biases.
typedef struct {
    int32_t side, stride, in, out;
} Layer;

typedef struct {
    size_t height, width;
    float* values;  // (height, width, channels)
} Map;

static Lanes load(const float* from) {
    Lanes lanes;
    __builtin_memcpy(&lanes, from, sizeof lanes);
    return lanes;
}

// Neighbours of a row, `count` of them, of `blocks` blocks of channels; after the ReLU.
static inline __attribute__((always_inline)) void convolve(
    Layer layer,
    const float* first,
    size_t line,
    const float* weights,
    const float* biases,
    size_t blocks,
    size_t count,
    Lanes sums[BLOCKS][PIXELS]
) {
    const size_t step = (size_t)layer.stride * (size_t)layer.in, span = (size_t)layer.side * (size_t)layer.in;
    const size_t block_size = (size_t)layer.side * span * LANES;
    Lanes sum[BLOCKS][PIXELS] = {{{0}}};
    for (int32_t y = 0; y < layer.side; y++, first += line) {
        for (size_t i = 0; i < span; i++, weights += LANES) {
#pragma GCC unroll 8
            for (size_t p = 0; p < count; p++) {
                const float value = first[p * step + i];
                const Lanes values = {value, value, value, value, value, value, value, value};
#pragma GCC unroll 2
                for (size_t b = 0; b < blocks; b++) sum[b][p] += load(weights + b * block_size) * values;
            }
        }
    }
#pragma GCC unroll 2
    for (size_t b = 0; b < blocks; b++) {
        const Lanes bias = load(biases + b * LANES);
#pragma GCC unroll 8
        for (size_t p = 0; p < count; p++) {
            const Lanes found = sum[b][p] + bias;
            sums[b][p] = (Lanes)((found > 0) & (__typeof__(found > 0))found);
        }
    }
}

// A row of `blocks` blocks of channels, `first` on; adds to `moments` (2, out) the sums of what comes out and of its
// squares.
static inline __attribute__((always_inline)) void run_row(
    Layer layer, Map in, Map out, size_t y, size_t first, size_t blocks, const float* weights, double* moments
) {
    const size_t channels = (size_t)layer.out, line = in.width * (size_t)layer.in, stride = (size_t)layer.stride;
    const size_t block_size = (size_t)layer.side * (size_t)layer.side * (size_t)layer.in * LANES;
    const float* biases = weights + channels / LANES * block_size + first * LANES;
    const float* from = in.values + y * stride * line;
    Lanes totals[BLOCKS] = {{0}}, squares[BLOCKS] = {{0}};
    for (size_t x = 0; x < out.width; x += PIXELS) {
        // The last group begins earlier if it would be smaller, and computes some again.
        const int whole = out.width >= PIXELS;
        const size_t begin = whole && x + PIXELS > out.width ? out.width - PIXELS : x;
        const size_t count = whole ? PIXELS : out.width;
        const float* pixels = from + begin * stride * (size_t)layer.in;
        Lanes found[BLOCKS][PIXELS];
        if (whole)
            convolve(layer, pixels, line, weights + first * block_size, biases, blocks, PIXELS, found);
        else
            convolve(layer, pixels, line, weights + first * block_size, biases, blocks, count, found);
        for (size_t b = 0; b < blocks; b++) {
            for (size_t p = x - begin; p < count; p++) {
                totals[b] += found[b][p];
                squares[b] += found[b][p] * found[b][p];
                float* to = out.values + (y * out.width + begin + p) * channels + (first + b) * LANES;
                __builtin_memcpy(to, &found[b][p], sizeof(Lanes));
            }
        }
    }
    for (size_t b = 0; b < blocks; b++) {
        for (size_t i = 0; i < LANES; i++) {
            moments[(first + b) * LANES + i] += totals[b][i];
            moments[channels + (first + b) * LANES + i] += squares[b][i];
        }
    }
}

static void run(Layer layer, Map in, Map out, const float* weights, double* moments) {
    const size_t blocks = (size_t)layer.out / LANES;
    for (size_t y = 0; y < out.height; y++) {
        size_t b = 0;
        for (; b + BLOCKS <= blocks; b += BLOCKS) run_row(layer, in, out, y, b, BLOCKS, weights, moments);
        if (b < blocks) run_row(layer, in, out, y, b, 1, weights, moments);
    }
}

// Every layer over one tile that all of them fit in; `maps` has room for two maps of `room` floats.
static void add_moments(
    Map in, const Layer* layers, size_t count, const float* weights, float* maps, size_t room, double* moments
) {
    for (size_t i = 0; i < count; i++) {
        const Layer layer = layers[i];
        const size_t side = (size_t)layer.side, stride = (size_t)layer.stride, channels = (size_t)layer.out;
        Map out = {(in.height - side) / stride + 1, (in.width - side) / stride + 1, maps + i % 2 * room};
        run(layer, in, out, weights, moments);
        weights += (side * side * (size_t)layer.in + 1) * channels;
        moments += 2 * channels;
        in = out;
    }
}

// Adds to `moments`, (2, out) of each layer after the other, those of tiles; `sides` has (height, width) of each.
// 0, or -1: no memory.
int estimator_moments(
    const float* const* tiles,
    const size_t* sides,
    size_t tile_count,
    const Layer* layers,
    size_t count,
    const float* weights,
    double* moments
) {
    size_t channels = 0, pixels = 0;
    for (size_t i = 0; i < count; i++) channels = (size_t)layers[i].out > channels ? (size_t)layers[i].out : channels;
    for (size_t i = 0; i < tile_count; i++) {
        const size_t here = sides[2 * i] * sides[2 * i + 1];
        pixels = here > pixels ? here : pixels;
    }
    const size_t room = pixels * channels;
    float* maps = malloc(2 * room * sizeof(float));
    if (!maps) return -1;
    for (size_t i = 0; i < tile_count; i++) {
        const Map tile = {sides[2 * i], sides[2 * i + 1], (float*)tiles[i]};
        add_moments(tile, layers, count, weights, maps, room, moments);
    }
    free(maps);
    return 0;
}
