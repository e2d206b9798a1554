// The convolutions of history/estimator.py, and moments of what comes out of each; numpy does the same there, slower.

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

enum { LANES = 8, PIXELS = 8 };
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

// Up to PIXELS neighbours of a row, of one block of channels; after the ReLU.
static inline __attribute__((always_inline)) void convolve(
    Layer layer, const float* first, size_t line, const float* weights, Lanes bias, size_t count, Lanes* sums
) {
    const size_t step = (size_t)layer.stride * (size_t)layer.in, span = (size_t)layer.side * (size_t)layer.in;
    for (size_t p = 0; p < count; p++) sums[p] = bias;
    for (int32_t y = 0; y < layer.side; y++, first += line) {
        for (size_t i = 0; i < span; i++, weights += LANES) {
            const Lanes weight = load(weights);
            for (size_t p = 0; p < count; p++) {
                const float value = first[p * step + i];
                sums[p] += weight * (Lanes){value, value, value, value, value, value, value, value};
            }
        }
    }
    for (size_t p = 0; p < count; p++)
        for (int i = 0; i < LANES; i++) sums[p][i] = sums[p][i] > 0 ? sums[p][i] : 0;
}

// One layer; adds to `moments` (2, out) the sums of what comes out and of its squares.
static void run(Layer layer, Map in, Map out, const float* weights, double* moments) {
    const size_t channels = (size_t)layer.out, blocks = channels / LANES, stride = (size_t)layer.stride;
    const size_t line = in.width * (size_t)layer.in;
    const size_t block_size = (size_t)layer.side * (size_t)layer.side * (size_t)layer.in * LANES;
    for (size_t y = 0; y < out.height; y++) {
        for (size_t b = 0; b < blocks; b++) {
            const Lanes bias = load(weights + blocks * block_size + b * LANES);
            Lanes sum = {0}, squares = {0};
            for (size_t x = 0; x < out.width; x += PIXELS) {
                const float* first = in.values + y * stride * line + x * stride * (size_t)layer.in;
                const size_t count = out.width - x < PIXELS ? out.width - x : PIXELS;
                Lanes found[PIXELS];
                if (count == PIXELS)
                    convolve(layer, first, line, weights + b * block_size, bias, PIXELS, found);
                else
                    convolve(layer, first, line, weights + b * block_size, bias, count, found);
                for (size_t p = 0; p < count; p++) {
                    sum += found[p];
                    squares += found[p] * found[p];
                    float* to = out.values + (y * out.width + x + p) * channels + b * LANES;
                    __builtin_memcpy(to, &found[p], sizeof found[p]);
                }
            }
            for (size_t i = 0; i < LANES; i++) {
                moments[b * LANES + i] += sum[i];
                moments[channels + b * LANES + i] += squares[i];
            }
        }
    }
}

// Adds to `moments`, (2, out) of each layer after the other, those of a tile (height, width) that every layer fits in.
// 0, or -1: no memory.
int estimator_moments(
    const float* tile,
    size_t height,
    size_t width,
    const Layer* layers,
    size_t count,
    const float* weights,
    double* moments
) {
    size_t most = 0;
    for (size_t i = 0; i < count; i++) most = (size_t)layers[i].out > most ? (size_t)layers[i].out : most;
    float* maps = malloc(2 * height * width * most * sizeof(float));
    if (!maps) return -1;
    Map in = {height, width, (float*)tile};
    for (size_t i = 0; i < count; i++) {
        const Layer layer = layers[i];
        const size_t side = (size_t)layer.side, stride = (size_t)layer.stride, channels = (size_t)layer.out;
        Map out = {
            (in.height - side) / stride + 1, (in.width - side) / stride + 1, maps + i % 2 * height * width * most
        };
        run(layer, in, out, weights, moments);
        weights += (side * side * (size_t)layer.in + 1) * channels;
        moments += 2 * channels;
        in = out;
    }
    free(maps);
    return 0;
}
