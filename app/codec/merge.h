// One picture on its way back, as merge.py describes it to merge.c and consistency.c.

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { TAPS = 5, LANES = 16, COLORS = 3, MAX_CHANNELS = 4, BLOCK = 4 };

typedef float lanes_t __attribute__((vector_size(LANES * sizeof(float))));

// `mix`, `gain` and `bias` make codes of the samples of chroma and luma.
typedef struct {
    size_t height, width, scale, channels, itemsize;  // of the source, and of the samples
    const float* chroma[2];                           // (height, width), NULL for gray
    const float* luma;                                // (height * scale, width * scale)
    const float* alpha;                               // likewise, NULL where there is none or all is opaque
    const float* sources[2];                          // of luma and alpha: (height, width)
    const float* residuals[2];  // likewise; NULL where the result need not agree with its source, see consistency.py
    const float* phases;        // of the enlargement by 1, 2, 4 or 8: (TAPS, scale), repeated to (TAPS, LANES)
    ptrdiff_t offset;           // from a source row or column to its first tap, -TAPS < offset <= 0
    const float* shrinking;     // of the reduction: the weights of 4 * scale taps, zeros up to whole lanes
    ptrdiff_t shrinking_offset;
    float mix[COLORS][2], gain, bias[COLORS];
} merge_t;

// Samples of four bytes are floats that are clipped but not rounded, in units of 16-bit codes.
static inline float full_scale(const merge_t* merge) { return merge->itemsize == 1 ? 255 : 65535; }

// Channels that are computed: not an alpha that is opaque.
static inline size_t computed_channels(const merge_t* merge) {
    return (merge->chroma[0] ? COLORS : 1) + (merge->alpha != NULL);
}

// How many blocks cover a side of the source.
static inline size_t blocks_of(size_t length) { return (length + BLOCK - 1) / BLOCK; }

static inline size_t whole_lanes(size_t length) { return (length + LANES - 1) / LANES * LANES; }

static inline lanes_t clamped(lanes_t values, float low, float high) {
    const lanes_t zero = {0};
    return __builtin_elementwise_min(__builtin_elementwise_max(values, zero + low), zero + high);
}

// LANES values, all of which exist.
static inline lanes_t load_all(const float* at) {
    lanes_t values;
    memcpy(&values, at, sizeof values);
    return values;
}

// A row's values from `x` on; what is past its end is never read.
static inline lanes_t load(const float* row, size_t x, size_t length) {
    lanes_t values = {0};
    if (length - x >= LANES) return load_all(row + x);
    memcpy(&values, row + x, (length - x) * sizeof *row);
    return values;
}

static inline void save(float* at, lanes_t values) { memcpy(at, &values, sizeof values); }

// How many floats consistency_offsets works in.
size_t consistency_room(const merge_t* merge, size_t wide);

// The offsets (computed channels, block columns) of a block row whose codes, neither clipped nor rounded, are `values`:
// rows of (channels, wide), with whole lanes behind the last.
void consistency_offsets(
    const merge_t* merge, size_t block_row, const float* values, size_t wide, float* room, float* offsets
);
