// Deflate (RFC 1951) without matches: blocks of bytes, each with a Huffman code of its own. It is what photographs
// need, whose filtered rows hardly ever repeat, and takes a fraction of the time that looking for matches does.

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "bits are stored by whole words, lowest byte first"
#endif

enum {
    BLOCK = 64 * 1024,    // bytes that share a code
    END = 256,            // the symbol that ends a block
    SYMBOLS = END + 1,    // of the code for bytes
    DISTANCES = 2,        // of the code for distances, which is never used
    LONGEST = 14,         // bits of a symbol: four of them and what waits for a whole byte fit into a word
    LENGTH_SYMBOLS = 19,  // of the code that codes are written in
    LONGEST_LENGTH = 7,   // bits of one of these
    REPEAT = 16,          // the last length, 3 to 6 times, as 2 bits say
    ZEROS = 17,           // 3 to 10 of them, 3 bits
    MANY_ZEROS = 18,      // 11 to 138 of them, 7 bits
};

typedef struct {
    uint16_t bits;
    uint16_t length;
} code_t;

typedef struct {
    uint8_t* next;
    uint64_t waiting;  // bits of which `count` are not written yet
    size_t count;
} writer_t;

// `bits` has no more than `count`, and at most 56 are written between two calls of `flush`.
static inline void put(writer_t* writer, uint64_t bits, size_t count) {
    writer->waiting |= bits << writer->count;
    writer->count += count;
}

static inline void flush(writer_t* writer) {
    memcpy(writer->next, &writer->waiting, sizeof writer->waiting);
    writer->next += writer->count / 8;
    writer->waiting >>= writer->count / 8 * 8;
    writer->count %= 8;
}

// Fills up to a whole byte.
static inline void align(writer_t* writer) {
    writer->count = (writer->count + 7) / 8 * 8;
    flush(writer);
}

static int ascending(const void* a, const void* b) {
    uint32_t first = *(const uint32_t*)a, second = *(const uint32_t*)b;
    return (first > second) - (first < second);
}

// Lengths of a Huffman code of at most `longest` bits for symbols that occur `counts` times; at least two do.
static void find_lengths(const uint32_t* counts, size_t symbols, unsigned longest, uint8_t* lengths) {
    uint32_t sorted[SYMBOLS], weights[2 * SYMBOLS], parents[2 * SYMBOLS], depths[2 * SYMBOLS];
    for (unsigned shift = 0;; shift++) {  // halved counts make a flatter tree
        size_t leaves = 0;
        for (uint32_t symbol = 0; symbol < symbols; symbol++)
            if (counts[symbol]) sorted[leaves++] = (counts[symbol] >> shift | 1) << 9 | symbol;
        qsort(sorted, leaves, sizeof *sorted, ascending);
        for (size_t i = 0; i < leaves; i++) weights[i] = sorted[i] >> 9;
        // Nodes are made in the order of their weights: leaves wait in one queue, nodes in another behind it.
        size_t leaf = 0, node = leaves, last = 2 * leaves - 2;
        for (size_t made = leaves; made <= last; made++) {
            weights[made] = 0;
            for (int child = 0; child < 2; child++) {
                size_t lighter = leaf < leaves && (node == made || weights[leaf] <= weights[node]) ? leaf++ : node++;
                parents[lighter] = (uint32_t)made;
                weights[made] += weights[lighter];
            }
        }
        depths[last] = 0;
        unsigned deepest = 0;
        for (size_t i = last; i-- > 0;) {
            depths[i] = depths[parents[i]] + 1;
            if (depths[i] > deepest) deepest = depths[i];
        }
        if (deepest > longest) continue;
        memset(lengths, 0, symbols);
        for (size_t i = 0; i < leaves; i++) lengths[sorted[i] & 511] = (uint8_t)depths[i];
        return;
    }
}

// The canonical code of these lengths, each symbol's first bit lowest.
static void assign(const uint8_t* lengths, size_t symbols, code_t* codes) {
    unsigned used[LONGEST + 1] = {0}, next[LONGEST + 1] = {0};
    for (size_t i = 0; i < symbols; i++) used[lengths[i]]++;
    used[0] = 0;
    for (size_t length = 1; length <= LONGEST; length++) next[length] = (next[length - 1] + used[length - 1]) << 1;
    for (size_t i = 0; i < symbols; i++) {
        unsigned length = lengths[i], code = length ? next[length]++ : 0;
        codes[i] = (code_t){.length = (uint16_t)length};
        for (unsigned bit = 0; bit < length; bit++)
            codes[i].bits |= (uint16_t)((code >> bit & 1) << (length - 1 - bit));
    }
}

// What a decoder needs to know of a block's code.
static void put_lengths(writer_t* writer, const uint8_t* lengths, size_t count) {
    static const uint8_t order[LENGTH_SYMBOLS] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    static const uint8_t extra_bits[LENGTH_SYMBOLS] = {[REPEAT] = 2, [ZEROS] = 3, [MANY_ZEROS] = 7};
    uint8_t symbols[SYMBOLS + DISTANCES], extras[SYMBOLS + DISTANCES], own_lengths[LENGTH_SYMBOLS];
    uint32_t counts[LENGTH_SYMBOLS] = {0};
    code_t codes[LENGTH_SYMBOLS];
    size_t made = 0;
    for (size_t i = 0, run; i < count; i += run, made++) {
        const uint8_t length = lengths[i];
        size_t shortest = 1;
        for (run = 1; i + run < count && lengths[i + run] == length && run < 138;) run++;
        symbols[made] = length;
        if (length == 0 && run >= 11) {
            symbols[made] = MANY_ZEROS;
            shortest = 11;
        } else if (length == 0 && run >= 3) {
            symbols[made] = ZEROS;
            shortest = 3;
        } else if (i > 0 && length == lengths[i - 1] && run >= 3) {
            symbols[made] = REPEAT;
            shortest = 3;
            run = run < 6 ? run : 6;
        } else {
            run = 1;
        }
        extras[made] = (uint8_t)(run - shortest);
        counts[symbols[made]]++;
    }
    find_lengths(counts, LENGTH_SYMBOLS, LONGEST_LENGTH, own_lengths);
    assign(own_lengths, LENGTH_SYMBOLS, codes);
    put(writer, SYMBOLS - 257, 5);
    put(writer, DISTANCES - 1, 5);
    put(writer, LENGTH_SYMBOLS - 4, 4);
    for (size_t i = 0; i < LENGTH_SYMBOLS; i++) {
        put(writer, own_lengths[order[i]], 3);
        flush(writer);
    }
    for (size_t i = 0; i < made; i++) {
        put(writer, codes[symbols[i]].bits, codes[symbols[i]].length);
        put(writer, extras[i], extra_bits[symbols[i]]);
        flush(writer);
    }
}

static void put_block(writer_t* writer, const uint8_t* data, size_t length, int last) {
    uint32_t counts[4][SYMBOLS] = {{0}};  // several, since equal neighbours would wait for each other's sums
    for (size_t i = 0; i < length; i++) counts[i % 4][data[i]]++;
    for (size_t i = 0; i < END; i++) counts[0][i] += counts[1][i] + counts[2][i] + counts[3][i];
    counts[0][END] = 1;
    uint8_t lengths[SYMBOLS + DISTANCES];
    code_t codes[SYMBOLS];
    find_lengths(counts[0], SYMBOLS, LONGEST, lengths);
    assign(lengths, SYMBOLS, codes);
    memset(lengths + SYMBOLS, 1, DISTANCES);
    put(writer, last != 0, 1);
    put(writer, 2, 2);
    put_lengths(writer, lengths, sizeof lengths);
    writer_t local = *writer;
    size_t i = 0;
    for (; i + 4 <= length; i += 4) {
        const code_t a = codes[data[i]], b = codes[data[i + 1]], c = codes[data[i + 2]], d = codes[data[i + 3]];
        const uint64_t first = (uint64_t)b.bits << a.length | a.bits, second = (uint64_t)d.bits << c.length | c.bits;
        put(&local, first, a.length + b.length);
        put(&local, second, c.length + d.length);
        flush(&local);
    }
    for (; i <= length; i++) {
        const code_t code = codes[i < length ? data[i] : END];
        put(&local, code.bits, code.length);
        flush(&local);
    }
    *writer = local;
}

// How many bytes of room huffman_deflate needs for `length` of them.
size_t huffman_room(size_t length) {
    const size_t blocks = (length + BLOCK - 1) / BLOCK;
    return (length * LONGEST + 7) / 8 + 512 * blocks + 16;  // 512 for a code; flush writes whole words
}

// A piece of a deflate stream: its last, or one that ends at a whole byte. Of `length` bytes, at least one. Returns how
// many bytes it became.
size_t huffman_deflate(const uint8_t* data, size_t length, int last, uint8_t* out) {
    writer_t writer = {.next = out};
    for (size_t at = 0; at < length; at += BLOCK) {
        const size_t left = length - at;
        put_block(&writer, data + at, left < BLOCK ? left : BLOCK, last && left <= BLOCK);
    }
    if (!last) {
        put(&writer, 0, 3);  // an empty block that is stored as it is
        align(&writer);
        put(&writer, 0xFFFF0000, 32);
    }
    align(&writer);
    return (size_t)(writer.next - out);
}
