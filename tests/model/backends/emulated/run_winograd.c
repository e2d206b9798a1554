// winograd.c for another CPU, run by an emulator: a call is read from standard input, its answer written to standard
// output. Weights are put where their pointers say.

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "winograd.c"

enum { PAGE = 65536 };

typedef struct {
    uint64_t weights, size;  // address and bytes
    int32_t levels, height, width;
    network_t network;
} call_t;

static void read_all(void* to, size_t size) {
    if (fread(to, 1, size, stdin) != size) abort();
}

int main(void) {
    call_t call;
    read_all(&call, sizeof call);
    int32_t facts[2] = {lapsrn_strip(), lapsrn_margin(&call.network)};
    fwrite(facts, sizeof facts, 1, stdout);
    if (!call.height) return 0;

    uint64_t begin = call.weights & ~(uint64_t)(PAGE - 1);
    size_t span = call.weights + call.size - begin;
    int protection = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    if (mmap((void*)begin, span, protection, flags, -1, 0) != (void*)begin) abort();
    read_all((void*)call.weights, call.size);

    size_t columns = call.width + 2 * (size_t)facts[1], pixels = (call.height + 2 * (size_t)facts[1]) * columns;
    float *luma = malloc(pixels * sizeof *luma), *outputs[MAX_LEVELS];
    read_all(luma, pixels * sizeof *luma);
    for (int i = 0; i < call.levels; i++) {
        outputs[i] = malloc(((size_t)call.height * call.width << 2 * (i + 1)) * sizeof *luma);
    }
    char* memory = malloc(lapsrn_memory(&call.network, call.levels, call.height, call.width));
    lapsrn_run(&call.network, call.levels, call.height, call.width, luma, outputs, memory);
    for (int i = 0; i < call.levels; i++) {
        fwrite(outputs[i], sizeof *luma, (size_t)call.height * call.width << 2 * (i + 1), stdout);
    }
    return 0;
}
