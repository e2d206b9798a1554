// The intrinsics that amx.c uses, in plain C for any CPU: found before the compiler's own <immintrin.h>.
//
// Every one gives the bits that the hardware gives; what each does is from the Intel 64 and IA-32 Architectures
// Software Developer's Manual, volume 2. Using tiles that are not configured ends the process, as it does there.

#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef float __m128 __attribute__((vector_size(16), may_alias));
typedef float __m256 __attribute__((vector_size(32), may_alias));
typedef float __m512 __attribute__((vector_size(64), may_alias));
typedef double __m512d __attribute__((vector_size(64), may_alias));
typedef long long __m128i __attribute__((vector_size(16), may_alias));
typedef long long __m256i __attribute__((vector_size(32), may_alias));
typedef long long __m512i __attribute__((vector_size(64), may_alias));
typedef uint16_t __m128bh __attribute__((vector_size(16), may_alias));
typedef uint16_t __m256bh __attribute__((vector_size(32), may_alias));
typedef uint16_t __m512bh __attribute__((vector_size(64), may_alias));
typedef int32_t emulated_ints __attribute__((vector_size(64), may_alias));
typedef uint16_t __mmask16;

// Sanitizers are for what uses this: with their checks in it, it does not become vector code.
#define EMULATED static inline __attribute__((always_inline, unused, no_sanitize("undefined")))
#define EMULATED_LOAD(type, name, source) \
    type name;                            \
    memcpy(&name, source, sizeof name)

// Aligned memory is the caller's duty, and the hardware's fault where it is not.
#define EMULATED_ALIGNED(address, bytes) ((uintptr_t)(address) % (bytes) ? __builtin_trap() : (void)0)

EMULATED float emulated_from_bf16(uint16_t value) {
    const uint32_t bits = (uint32_t)value << 16;
    EMULATED_LOAD(float, number, &bits);
    return number;
}

// VCVTNEPS2BF16 and VCVTNE2PS2BF16: to the nearest, ties to even; denormals are zero, NaN becomes quiet.
EMULATED uint16_t emulated_to_bf16(float number) {
    EMULATED_LOAD(uint32_t, bits, &number);
    if ((bits & 0x7FFFFFFF) > 0x7F800000) return (uint16_t)(bits >> 16 | 0x40);
    if ((bits & 0x7F800000) == 0) return (uint16_t)(bits >> 16 & 0x8000);
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

// ---- SSE and AVX ----------------------------------------------------------------------------------------------------

EMULATED __m128 _mm_load_ps(const float* source) {
    EMULATED_ALIGNED(source, 16);
    EMULATED_LOAD(__m128, loaded, source);
    return loaded;
}
EMULATED void _mm_storeu_ps(float* target, __m128 a) { memcpy(target, &a, sizeof a); }
EMULATED void _mm_storeu_si128(__m128i* target, __m128i a) { memcpy(target, &a, sizeof a); }

EMULATED __m256 _mm256_setr_ps(float a, float b, float c, float d, float e, float f, float g, float h) {
    return (__m256){a, b, c, d, e, f, g, h};
}
EMULATED __m256 _mm256_set1_ps(float a) { return (__m256){a, a, a, a, a, a, a, a}; }
EMULATED __m256 _mm256_sub_ps(__m256 a, __m256 b) { return a - b; }

EMULATED __m256i _mm256_loadu_si256(const __m256i* source) {
    EMULATED_LOAD(__m256i, loaded, source);
    return loaded;
}

EMULATED __m128bh _mm256_cvtneps_pbh(__m256 a) {
    __m128bh converted;
    for (int i = 0; i < 8; i++) converted[i] = emulated_to_bf16(a[i]);
    return converted;
}
EMULATED __m256 _mm256_cvtpbh_ps(__m128bh a) {
    __m256 converted;
    for (int i = 0; i < 8; i++) converted[i] = emulated_from_bf16(a[i]);
    return converted;
}

// ---- AVX-512 --------------------------------------------------------------------------------------------------------

EMULATED __m512 _mm512_loadu_ps(const float* source) {
    EMULATED_LOAD(__m512, loaded, source);
    return loaded;
}
EMULATED __m512 _mm512_load_ps(const float* source) {
    EMULATED_ALIGNED(source, 64);
    return _mm512_loadu_ps(source);
}
EMULATED void _mm512_storeu_si512(void* target, __m512i a) { memcpy(target, &a, sizeof a); }
EMULATED __m512 _mm512_maskz_loadu_ps(__mmask16 mask, const float* source) {
    __m512 loaded = {0};
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1) loaded[i] = source[i];
    return loaded;
}
EMULATED void _mm512_mask_storeu_ps(float* target, __mmask16 mask, __m512 a) {
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1) target[i] = a[i];
}

EMULATED __m512 _mm512_set1_ps(float a) { return (__m512){a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a}; }
EMULATED __m512 _mm512_add_ps(__m512 a, __m512 b) { return a + b; }
EMULATED __m512 _mm512_sub_ps(__m512 a, __m512 b) { return a - b; }
EMULATED __m512 _mm512_mul_ps(__m512 a, __m512 b) { return a * b; }
EMULATED __m512 _mm512_max_ps(__m512 a, __m512 b) {  // the second where one is NaN or both are zero
    __m512 larger;
    for (int i = 0; i < 16; i++) larger[i] = a[i] > b[i] ? a[i] : b[i];
    return larger;
}
EMULATED __m512 _mm512_fmadd_ps(__m512 a, __m512 b, __m512 c) {
    __m512 sum;
    for (int i = 0; i < 16; i++) sum[i] = fmaf(a[i], b[i], c[i]);
    return sum;
}
EMULATED __m512 _mm512_cvtpbh_ps(__m256bh a) {
    __m512 converted;
    for (int i = 0; i < 16; i++) converted[i] = emulated_from_bf16(a[i]);
    return converted;
}
EMULATED __m512bh _mm512_cvtne2ps_pbh(__m512 high, __m512 low) {
    __m512bh converted;
    for (int i = 0; i < 16; i++) {
        converted[i] = emulated_to_bf16(low[i]);
        converted[16 + i] = emulated_to_bf16(high[i]);
    }
    return converted;
}

#define _mm512_setr_epi32(...) ((__m512i)(emulated_ints){__VA_ARGS__})
#define _mm512_setr_epi64(...) ((__m512i){__VA_ARGS__})
EMULATED __m512i _mm512_set1_epi32(int32_t a) {
    return _mm512_setr_epi32(a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a);
}
EMULATED __m512i _mm512_set1_epi64(long long a) { return _mm512_setr_epi64(a, a, a, a, a, a, a, a); }
EMULATED __m512i _mm512_add_epi32(__m512i a, __m512i b) { return (__m512i)((emulated_ints)a + (emulated_ints)b); }
EMULATED __m512i _mm512_add_epi64(__m512i a, __m512i b) { return a + b; }

EMULATED __m512d _mm512_castps_pd(__m512 a) { return (__m512d)a; }
EMULATED __m512 _mm512_castpd_ps(__m512d a) { return (__m512)a; }
EMULATED __m512 _mm512_permutex2var_ps(__m512 a, __m512i order, __m512 b) {
    __m512 chosen;
    const emulated_ints places = (emulated_ints)order;
    for (int i = 0; i < 16; i++) chosen[i] = places[i] & 16 ? b[places[i] & 15] : a[places[i] & 15];
    return chosen;
}
EMULATED __m512d _mm512_permutex2var_pd(__m512d a, __m512i order, __m512d b) {
    __m512d chosen;
    for (int i = 0; i < 8; i++) chosen[i] = order[i] & 8 ? b[order[i] & 7] : a[order[i] & 7];
    return chosen;
}

// ---- AMX ------------------------------------------------------------------------------------------------------------

enum { EMULATED_TILES = 8, EMULATED_ROWS = 16, EMULATED_BYTES = 64 };

typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes_of_row[16];
    uint8_t rows[16];
} emulated_config_t;

// Each thread has its own registers.
static _Thread_local emulated_config_t emulated_config;
static _Thread_local uint8_t emulated_tiles[EMULATED_TILES][EMULATED_ROWS][EMULATED_BYTES];

EMULATED void _tile_release(void) {
    memset(&emulated_config, 0, sizeof emulated_config);
    memset(emulated_tiles, 0, sizeof emulated_tiles);
}

EMULATED void _tile_loadconfig(const void* source) {
    memset(emulated_tiles, 0, sizeof emulated_tiles);
    memcpy(&emulated_config, source, sizeof emulated_config);
    if (emulated_config.palette != 1 || emulated_config.start_row) __builtin_trap();
    for (int i = 0; i < 14; i++)
        if (emulated_config.reserved[i]) __builtin_trap();
    for (int i = 0; i < 16; i++) {
        const int rows = emulated_config.rows[i], bytes = emulated_config.bytes_of_row[i];
        if (rows > EMULATED_ROWS || bytes > EMULATED_BYTES || !rows != !bytes) __builtin_trap();
        if (i >= EMULATED_TILES && rows) __builtin_trap();
    }
}

EMULATED int emulated_rows(int tile) {
    if (!emulated_config.palette || !emulated_config.rows[tile]) __builtin_trap();
    return emulated_config.rows[tile];
}

// Whole rows are the usual ones, and copied without a call.
EMULATED void emulated_copy(void* target, const void* source, int bytes) {
    if (bytes == EMULATED_BYTES)
        __builtin_memcpy_inline(target, source, EMULATED_BYTES);
    else
        memcpy(target, source, bytes);
}

EMULATED void _tile_loadd(int tile, const void* source, ptrdiff_t stride) {
    const int rows = emulated_rows(tile);
    memset(emulated_tiles[tile], 0, sizeof emulated_tiles[tile]);
    for (int row = 0; row < rows; row++)
        emulated_copy(
            emulated_tiles[tile][row], (const char*)source + row * stride, emulated_config.bytes_of_row[tile]
        );
}

EMULATED void _tile_stored(int tile, void* target, ptrdiff_t stride) {
    const int rows = emulated_rows(tile);
    for (int row = 0; row < rows; row++)
        emulated_copy((char*)target + row * stride, emulated_tiles[tile][row], emulated_config.bytes_of_row[tile]);
}

typedef float emulated_floats __attribute__((vector_size(EMULATED_ROWS * sizeof(float))));
typedef uint32_t emulated_words __attribute__((vector_size(EMULATED_ROWS * sizeof(uint32_t))));
typedef double emulated_sums __attribute__((vector_size(EMULATED_ROWS * sizeof(double))));
typedef int64_t emulated_marks __attribute__((vector_size(EMULATED_ROWS * sizeof(int64_t))));

// The nearest floats. What would be denormal is zero: the hardware rounds to 24 bits first, so half a unit in the last
// place below the smallest normal number is the first that is not.
EMULATED emulated_sums emulated_rounded(emulated_sums exact) {
    const emulated_sums rounded =
        __builtin_convertvector(__builtin_convertvector(exact, emulated_floats), emulated_sums);
    const emulated_marks sign = (emulated_marks)exact & INT64_MIN;
    const emulated_marks tiny = (exact < 0x1p-126 - 0x1p-151) & (exact > -(0x1p-126 - 0x1p-151));
    return (emulated_sums)((tiny & sign) | (~tiny & (emulated_marks)rounded));
}

EMULATED emulated_sums emulated_flushed(emulated_floats numbers) {
    const emulated_sums wide = __builtin_convertvector(numbers, emulated_sums);
    const emulated_marks tiny = (wide < 0x1p-126) & (wide > -0x1p-126);
    return (emulated_sums)((emulated_marks)wide & (~tiny | INT64_MIN));
}

EMULATED emulated_floats emulated_without_denormals(emulated_floats numbers) {
    const emulated_words bits = (emulated_words)numbers;
    return (emulated_floats)(bits & ((emulated_words)((bits & 0x7F800000) != 0) | 0x80000000));
}

// Whether all of a tile's numbers are 0 or from 2^-40 to 2^40. Their products are multiples of 2^-94 below 2^82, and so
// are sums of them: nothing can be denormal or infinite, and every product is a float. Nor is what comes of adding such
// a sum to a float that is 0 or normal.
EMULATED int emulated_moderate(int tile) {
    uint16_t values[EMULATED_ROWS * EMULATED_BYTES / 2], immoderate = 0;
    memcpy(values, emulated_tiles[tile], sizeof values);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        const uint16_t size = values[i] & 0x7FFF;
        immoderate |= (uint16_t)(size - ((127 - 40) << 7)) > 80 << 7 && size;
    }
    return !immoderate;
}

// Half of the numbers of a row, as floats: the even or the odd ones.
EMULATED emulated_floats emulated_half(int tile, int row, int odd) {
    emulated_words pairs;
    memcpy(&pairs, emulated_tiles[tile][row], sizeof pairs);
    return (emulated_floats)(odd ? pairs & 0xFFFF0000 : pairs << 16);
}

// TDPBF16PS: even and odd inputs are summed apart, each with one rounding a product (FMA), then both sums are added,
// then that to the tile. To the nearest, ties to even; denormals are zero, on the way in and on the way out.
//
// In double, products are exact, and a sum is rounded once: two summands of 24 and 16 bits either both fit into 53, or
// are too far apart for the lower one to touch a tie between two floats. Moderate numbers do as well in float.
static __attribute__((unused, no_sanitize("undefined"))) void _tile_dpbf16ps(int target, int first, int second) {
    const int rows = emulated_rows(target), pairs = emulated_config.bytes_of_row[first] / 4;
    if (emulated_rows(first) != rows || emulated_rows(second) != pairs) __builtin_trap();
    if (emulated_config.bytes_of_row[target] != emulated_config.bytes_of_row[second]) __builtin_trap();
    const int moderate = emulated_moderate(first) && emulated_moderate(second);
    emulated_floats weights[EMULATED_ROWS][2];
    for (int k = 0; k < pairs; k++)
        for (int odd = 0; odd < 2; odd++) weights[k][odd] = emulated_half(second, k, odd);
    for (int m = 0; m < rows; m++) {
        const emulated_floats values[2] = {emulated_half(first, m, 0), emulated_half(first, m, 1)};
        emulated_floats results, sums[2] = {{0}, {0}};
        memcpy(&results, emulated_tiles[target][m], sizeof results);
        if (moderate) {
            for (int k = 0; k < pairs; k++)
                for (int odd = 0; odd < 2; odd++) sums[odd] += values[odd][k] * weights[k][odd];
            results = emulated_without_denormals(results) + (sums[0] + sums[1]);
        } else {
            emulated_sums added = {0};
            for (int odd = 0; odd < 2; odd++) {
                const emulated_sums exact = emulated_flushed(values[odd]);
                emulated_sums sum = {0};
                for (int k = 0; k < pairs; k++)
                    sum = emulated_rounded(sum + exact[k] * emulated_flushed(weights[k][odd]));
                added = odd ? emulated_rounded(added + sum) : sum;
            }
            results = __builtin_convertvector(emulated_rounded(emulated_flushed(results) + added), emulated_floats);
        }
        emulated_copy(emulated_tiles[target][m], &results, emulated_config.bytes_of_row[target]);
    }
}
