// What amx.c does to sixteen pixels at a time: products of tile registers, and what goes before and after them.
//
// A tile register holds 16 pixels x 32 channels, 32 channels x 16 outputs, or the sums of 16 pixels x 16 outputs. A 3x3
// convolution of 64 channels is eighteen products for each 16 of its outputs.

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CHANNELS = 64,
    HALF = 32,   // channels of one tile register, and outputs of one pass over the rows
    BLOCK = 16,  // pixels of one tile register
    TILE = 512,  // values of a weight's tile: 32 inputs x 16 outputs
    TAPS = 9
};

typedef uint16_t bf16;

typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes_of_row[16];
    uint8_t rows[16];
} tile_config_t;

static const tile_config_t FULL_TILES = {
    .palette = 1,
    .bytes_of_row = {64, 64, 64, 64, 64, 64, 64, 64},
    .rows = {16, 16, 16, 16, 16, 16, 16, 16},
};

// The four sums of 16 pixels x 16 outputs, one after the other.
static inline void store_sums(float sums[4 * BLOCK * BLOCK]) {
    _tile_stored(0, sums, 64);
    _tile_stored(1, sums + BLOCK * BLOCK, 64);
    _tile_stored(2, sums + 2 * BLOCK * BLOCK, 64);
    _tile_stored(3, sums + 3 * BLOCK * BLOCK, 64);
}

// LeakyReLU of 16 pixels' 32 outputs, given as two tiles, to bfloat16; `step` is from a pixel to the next, in values.
static inline void finish(const float* sums, __m512 slope, bf16* out, size_t step) {
    for (int i = 0; i < BLOCK; i++) {
        __m512 low = _mm512_load_ps(sums + BLOCK * i), high = _mm512_load_ps(sums + BLOCK * (BLOCK + i));
        low = _mm512_max_ps(low, _mm512_mul_ps(low, slope));
        high = _mm512_max_ps(high, _mm512_mul_ps(high, slope));
        _mm512_storeu_si512(out + step * i, (__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
}

static inline __m512 widened(const bf16* from) {
    return _mm512_cvtpbh_ps((__m256bh)_mm256_loadu_si256((const __m256i*)from));
}

// As finish, but added to what is there instead of LeakyReLU, and rounded once.
static inline void finish_sum(const float* sums, bf16* out, size_t step) {
    for (int i = 0; i < BLOCK; i++, out += step) {
        __m512 low = _mm512_add_ps(widened(out), _mm512_load_ps(sums + BLOCK * i));
        __m512 high = _mm512_add_ps(widened(out + BLOCK), _mm512_load_ps(sums + BLOCK * (BLOCK + i)));
        _mm512_storeu_si512(out, (__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
}

// 32 outputs of 16 pixels in two rows: through LeakyReLU, or with `add` added to what is there. `rows` are the four
// rows that they see, from the first pixel's left neighbour.
static inline void convolve_block(
    bf16* const rows[4], const bf16* weights, const float* bias, int add, __m512 slope, bf16* out[2], size_t step
) {
    _Alignas(64) float sums[4 * BLOCK * BLOCK];
    _tile_loadd(0, bias, 0);
    _tile_loadd(1, bias + BLOCK, 0);
    _tile_loadd(2, bias, 0);
    _tile_loadd(3, bias + BLOCK, 0);
    for (int y = 0; y < 3; y++) {
#pragma GCC unroll 6
        for (int part = 0; part < 6; part++) {  // three columns, two halves of the inputs
            _tile_loadd(4, rows[y] + HALF * part, 2 * CHANNELS);
            _tile_loadd(6, weights, 64);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(7, weights + TILE, 64);
            _tile_dpbf16ps(1, 4, 7);
            _tile_loadd(5, rows[y + 1] + HALF * part, 2 * CHANNELS);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
            weights += 2 * TILE;
        }
    }
    store_sums(sums);
    for (int i = 0; i < 2; i++) {
        const float* row = sums + 2 * i * BLOCK * BLOCK;
        if (add) {
            finish_sum(row, out[i], step);
        } else {
            finish(row, slope, out[i], step);
        }
    }
}

// The four phases of the residual of 32 pixels in two rows, to (32, 4) each.
static inline void residual_block(bf16* const rows[4], const bf16* weights, const float* bias, float* out[2]) {
    _Alignas(64) float sums[4 * BLOCK * BLOCK];
    _tile_loadd(0, bias, 0);
    _tile_loadd(1, bias, 0);
    _tile_loadd(2, bias, 0);
    _tile_loadd(3, bias, 0);
    for (int y = 0; y < 3; y++) {
#pragma GCC unroll 6
        for (int part = 0; part < 6; part++) {
            const bf16 *upper = rows[y] + HALF * part, *lower = rows[y + 1] + HALF * part;
            _tile_loadd(7, weights, 64);
            _tile_loadd(4, upper, 2 * CHANNELS);
            _tile_dpbf16ps(0, 4, 7);
            _tile_loadd(5, upper + BLOCK * CHANNELS, 2 * CHANNELS);
            _tile_dpbf16ps(1, 5, 7);
            _tile_loadd(4, lower, 2 * CHANNELS);
            _tile_dpbf16ps(2, 4, 7);
            _tile_loadd(5, lower + BLOCK * CHANNELS, 2 * CHANNELS);
            _tile_dpbf16ps(3, 5, 7);
            weights += TILE;
        }
    }
    store_sums(sums);
    for (int i = 0; i < 2 * BLOCK; i++) {
        _mm_storeu_ps(out[0] + 4 * i, _mm_load_ps(sums + BLOCK * i));
        _mm_storeu_ps(out[1] + 4 * i, _mm_load_ps(sums + BLOCK * (2 * BLOCK + i)));
    }
}

// What a pixel's eight neighbours differ from it by, as channels: in bfloat16, what that leaves over, and in bfloat16
// again. `rows` are those above, at and below the pixel, from its left neighbour.
static inline void differences_of(const float* const rows[3], bf16 channels[HALF]) {
    const float *above = rows[0], *here = rows[1], *below = rows[2];
    __m256 around = _mm256_setr_ps(above[0], above[1], above[2], here[0], here[2], below[0], below[1], below[2]);
    __m256 differences = _mm256_sub_ps(around, _mm256_set1_ps(here[1]));
    __m128bh high = _mm256_cvtneps_pbh(differences);
    __m256 rest = _mm256_sub_ps(differences, _mm256_cvtpbh_ps(high));
    _mm_storeu_si128((__m128i*)channels, (__m128i)high);
    _mm_storeu_si128((__m128i*)(channels + 8), (__m128i)_mm256_cvtneps_pbh(rest));
    _mm_storeu_si128((__m128i*)(channels + 16), (__m128i)high);
}

// The first layer: 64 outputs of 16 pixels' differences.
static inline void entry_block(
    const bf16* differences, const bf16* weights, const float* bias, __m512 slope, bf16* out
) {
    _Alignas(64) float sums[4 * BLOCK * BLOCK];
    _tile_loadd(0, bias, 0);
    _tile_loadd(1, bias + BLOCK, 0);
    _tile_loadd(2, bias + 2 * BLOCK, 0);
    _tile_loadd(3, bias + 3 * BLOCK, 0);
    _tile_loadd(4, differences, 2 * HALF);
    _tile_loadd(5, weights, 64);
    _tile_dpbf16ps(0, 4, 5);
    _tile_loadd(6, weights + TILE, 64);
    _tile_dpbf16ps(1, 4, 6);
    _tile_loadd(7, weights + 2 * TILE, 64);
    _tile_dpbf16ps(2, 4, 7);
    _tile_loadd(5, weights + 3 * TILE, 64);
    _tile_dpbf16ps(3, 4, 5);
    store_sums(sums);
    finish(sums, slope, out, CHANNELS);
    finish(sums + 2 * BLOCK * BLOCK, slope, out + HALF, CHANNELS);
}

// Up to 16 pixels of the image, four phases each, to two rows of twice as many: upsampled, and the residual added, less
// what a flat picture would get (`flat`, of four pixels). `rows` are those above, at and below the pixels, from the
// first one's left neighbour; residual is (16, 4).
static inline void image_block(
    const float* const rows[3],
    const float* kernels,
    const float* residual,
    __m512 flat,
    int pixels,
    float* const out[2]
) {
    const __m512i interleave_low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i interleave_high = _mm512_add_epi32(interleave_low, _mm512_set1_epi32(8));
    const __m512i even_pairs = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
    const __mmask16 valid = (__mmask16)((1u << pixels) - 1);
    __m512 around[TAPS], phases[4], residuals[4];
    for (int i = 0; i < TAPS; i++) around[i] = _mm512_maskz_loadu_ps(valid, rows[i / 3] + i % 3);
    for (int phase = 0; phase < 4; phase++) {
        const float* taps = kernels + TAPS * phase;
        phases[phase] = _mm512_mul_ps(_mm512_set1_ps(taps[0]), around[0]);
        for (int i = 1; i < TAPS; i++) {
            phases[phase] = _mm512_fmadd_ps(_mm512_set1_ps(taps[i]), around[i], phases[phase]);
        }
        residuals[phase] = _mm512_sub_ps(_mm512_loadu_ps(residual + BLOCK * phase), flat);
    }
    for (int row = 0; row < 2; row++) {
        const __m512i pairs = _mm512_add_epi64(even_pairs, _mm512_set1_epi64(row));
        for (int part = 0; part < 2; part++) {  // eight pixels, sixteen of the output
            __m512d first = _mm512_castps_pd(residuals[2 * part]), second = _mm512_castps_pd(residuals[2 * part + 1]);
            __m512 added = _mm512_castpd_ps(_mm512_permutex2var_pd(first, pairs, second));
            __m512i order = part ? interleave_high : interleave_low;
            __m512 upsampled = _mm512_permutex2var_ps(phases[2 * row], order, phases[2 * row + 1]);
            int left = 2 * pixels - BLOCK * part;
            __mmask16 kept = left >= BLOCK ? 0xFFFF : (__mmask16)((1u << (left > 0 ? left : 0)) - 1);
            _mm512_mask_storeu_ps(out[row] + BLOCK * part, kept, _mm512_add_ps(upsampled, added));
        }
    }
}
