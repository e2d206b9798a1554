// winograd.c for 64-bit ARM, run by an emulator: a call is read from standard input, its answer written to standard
// output. Weights are put where their pointers say.
//
// It calls Linux itself: to compile a C library for ARM takes as long as all of the tests that use this.

#include "winograd.c"

enum { PAGE = 65536, MALLOC_ALIGNMENT = 16 };
enum { SYS_READ = 63, SYS_WRITE = 64, SYS_EXIT = 93, SYS_MMAP = 222 };
enum { PROT_READ_WRITE = 3, MAP_PRIVATE = 0x2, MAP_ANONYMOUS = 0x20, MAP_FIXED_NOREPLACE = 0x100000 };

typedef struct {
    uint64_t weights, size;  // address and bytes
    int32_t levels, height, width;
    network_t network;
} call_t;

// The compiler calls these, too.
void* memcpy(void* restrict target, const void* restrict source, size_t size) {
    for (size_t i = 0; i < size; i++) ((char*)target)[i] = ((const char*)source)[i];
    return target;
}

void* memset(void* target, int value, size_t size) {
    for (size_t i = 0; i < size; i++) ((char*)target)[i] = (char)value;
    return target;
}

static int64_t linux_call(int64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
    register int64_t x8 __asm__("x8") = number;
    register uint64_t x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c, x3 __asm__("x3") = d;
    register uint64_t x4 __asm__("x4") = (uint64_t)-1, x5 __asm__("x5") = 0;  // of mmap: no file
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return (int64_t)x0;
}

static void read_all(void* to, size_t size) {
    for (int64_t got = 0; size; to = (char*)to + got, size -= (size_t)got) {
        got = linux_call(SYS_READ, 0, (uint64_t)to, size, 0);
        if (got <= 0) __builtin_trap();
    }
}

static void write_all(const void* from, size_t size) {
    for (int64_t put = 0; size; from = (const char*)from + put, size -= (size_t)put) {
        put = linux_call(SYS_WRITE, 1, (uint64_t)from, size, 0);
        if (put <= 0) __builtin_trap();
    }
}

static char* mapped(uint64_t address, size_t size, int flags) {
    const int64_t found = linux_call(SYS_MMAP, address, size, PROT_READ_WRITE, (uint64_t)(MAP_PRIVATE | flags));
    if (found < 0) __builtin_trap();
    return (char*)found;
}

// No better aligned than what malloc gives.
static void* allocated(size_t size) { return mapped(0, size + MALLOC_ALIGNMENT, MAP_ANONYMOUS) + MALLOC_ALIGNMENT; }

static void answer(void) {
    call_t call;
    read_all(&call, sizeof call);
    int32_t facts[2] = {lapsrn_strip(), lapsrn_margin(&call.network)};
    write_all(facts, sizeof facts);
    if (!call.height) return;

    const uint64_t begin = call.weights & ~(uint64_t)(PAGE - 1);
    mapped(begin, call.weights + call.size - begin, MAP_ANONYMOUS | MAP_FIXED_NOREPLACE);
    read_all((void*)call.weights, call.size);

    size_t columns = call.width + 2 * (size_t)facts[1], pixels = (call.height + 2 * (size_t)facts[1]) * columns;
    float *luma = allocated(pixels * sizeof *luma), *outputs[MAX_LEVELS];
    read_all(luma, pixels * sizeof *luma);
    for (int i = 0; i < call.levels; i++) {
        outputs[i] = allocated(((size_t)call.height * call.width << 2 * (i + 1)) * sizeof *luma);
    }
    char* memory = allocated(lapsrn_memory(&call.network, call.levels, call.height, call.width));
    lapsrn_run(&call.network, call.levels, call.height, call.width, luma, outputs, memory);
    for (int i = 0; i < call.levels; i++) {
        write_all(outputs[i], sizeof *luma * (size_t)call.height * call.width << 2 * (i + 1));
    }
}

void _start(void) {
    answer();
    linux_call(SYS_EXIT, 0, 0, 0, 0);
}
