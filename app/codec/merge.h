// One picture on its way back, as merge.py describes it to merge.c and consistency.c.

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { TAPS = 5, LANES = 16, COLORS = 3, MAX_CHANNELS = 4, BLOCK = 4 };

typedef float lanes_t __attribute__((vector_size(LANES * sizeof(float))));

// `mix`, `gain` and `bias` make codes of the samples of chroma and luma. What agrees with the source has residuals and
// offsets, anything else has none; see consistency.py.
typedef struct {
    size_t height, width, scale, channels, itemsize;  // of the source, and of the samples
    const float* chroma[2];                           // (height, width), NULL for gray
    const float* luma;                                // (height * scale, width * scale)
    const float* alpha;                               // likewise, NULL where there is none or all is opaque
    const float* sources[2];                          // of luma and alpha: (height, width)
    const float* residuals[2];                        // likewise, NULL where nothing is to be added
    const float* offsets;    // (channels, block rows, block columns), in codes; NULL where nothing is to be added
    const float* phases;     // of the enlargement by 1, 2, 4 or 8: (TAPS, scale), repeated to (TAPS, LANES)
    ptrdiff_t offset;        // from a source row or column to its first tap, -TAPS < offset <= 0
    const float* shrinking;  // of the reduction: the weights of 4 * scale taps, zeros up to whole lanes
    ptrdiff_t shrinking_offset;
    float mix[COLORS][2], gain, bias[COLORS];
} merge_t;

static inline float full_scale(const merge_t* merge) { return merge->itemsize == 1 ? 255 : 65535; }

static inline size_t colors_of(const merge_t* merge) { return merge->chroma[0] ? COLORS : 1; }

// A row's length in whole lanes.
static inline size_t whole_lanes(size_t length) { return (length + LANES - 1) / LANES * LANES; }

static inline lanes_t clamped(lanes_t values, float low, float high) {
    const lanes_t zero = {0};
    return __builtin_elementwise_min(__builtin_elementwise_max(values, zero + low), zero + high);
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

// How many floats merge_values works in.
size_t merge_room(const merge_t* merge);

// The codes of result row `row` before offsets, clipping and rounding: (channels, wide), where `wide` is in whole
// lanes.
void merge_values(const merge_t* merge, size_t row, float* room, float* values, size_t wide);
