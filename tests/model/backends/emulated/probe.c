// What the emulation is compared by: a product of tiles, and those blocks of amx.c that use no tiles.

#include "amx_blocks.h"

// sums (16, 16) += pixels (16, 32) x weights (16 pairs of inputs, 16 outputs, 2)
void probe_product(float* sums, const bf16* pixels, const bf16* weights) {
    _tile_loadconfig(&FULL_TILES);
    _tile_loadd(0, sums, 64);
    _tile_loadd(1, pixels, 64);
    _tile_loadd(2, weights, 64);
    _tile_dpbf16ps(0, 1, 2);
    _tile_stored(0, sums, 64);
    _tile_release();
}

void probe_unconfigured(float* sums) {
    _tile_release();
    _tile_loadd(0, sums, 64);
}

// sums (2, 16, 16), 64 bytes aligned, to out (16, 32)
void probe_finish(const float* sums, float slope, bf16* out) { finish(sums, _mm512_set1_ps(slope), out, HALF); }

// sums (2, 16, 16), 64 bytes aligned, added to out (16, 32)
void probe_finish_sum(const float* sums, bf16* out) { finish_sum(sums, out, HALF); }

// rows (3, 3) to out (32)
void probe_differences(const float* rows, bf16* out) {
    differences_of((const float*[]){rows, rows + 3, rows + 6}, out);
}

// rows (3, 18), kernels (4, 9), residual (16, 4), flat (4, 4) to out (2, 32)
void probe_image(
    const float* rows, const float* kernels, const float* residual, const float* flat, int pixels, float* out
) {
    const float* const seen[3] = {rows, rows + 18, rows + 36};
    image_block(seen, kernels, residual, _mm512_loadu_ps(flat), pixels, (float* const[]){out, out + 32});
}
