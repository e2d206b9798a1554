// Deflate (RFC 1951) with matches for runs of zeros only: blocks of bytes, each with a Huffman code of its own. It is
// what photographs need, whose filtered rows hardly ever repeat otherwise, and takes a fraction of the time that
// looking for any match does.

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "bits are stored by whole words, lowest byte first"
#endif

enum {
    BLOCK = 64 * 1024,    // bytes that share a code
    LEAST_RUN = 16,       // zeros that become a match; of fewer, each costs little more than a bit
    END = 256,            // the symbol that ends a block
    SYMBOLS = END + 30,   // of the code for bytes and lengths of matches
    LONGEST_MATCH = 258,  // bytes
    SHORTEST_MATCH = 3,
    DISTANCES = 2,        // of the code for distances; all are 1, the first
    LONGEST = 13,         // bits of a symbol: see put_bytes
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

typedef uint64_t words_t __attribute__((vector_size(32)));

// Zeros that follow another zero.
typedef struct {
    uint32_t start, length;
} run_t;

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

// A stable sort by the 17 bits above the lowest nine.
static void sort_by_count(uint32_t* values, size_t number) {
    uint32_t other[SYMBOLS];
    for (unsigned shift = 9; shift < 26; shift += 9) {
        uint32_t starts[513] = {0};
        for (size_t i = 0; i < number; i++) starts[(values[i] >> shift & 511) + 1]++;
        for (size_t i = 1; i < 512; i++) starts[i] += starts[i - 1];
        for (size_t i = 0; i < number; i++) other[starts[values[i] >> shift & 511]++] = values[i];
        memcpy(values, other, number * sizeof *values);
    }
}

// Lengths of a Huffman code of at most `longest` bits for symbols that occur `counts` times; at least two do.
static void find_lengths(const uint32_t* counts, size_t symbols, unsigned longest, uint8_t* lengths) {
    uint32_t sorted[SYMBOLS], weights[2 * SYMBOLS], parents[2 * SYMBOLS], depths[2 * SYMBOLS];
    for (unsigned shift = 0;; shift++) {  // halved counts make a flatter tree
        size_t leaves = 0;
        for (uint32_t symbol = 0; symbol < symbols; symbol++)
            if (counts[symbol]) sorted[leaves++] = (counts[symbol] >> shift | 1) << 9 | symbol;
        sort_by_count(sorted, leaves);
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

// What a decoder needs to know of a block's code: `count` lengths, those of distances last.
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
    put(writer, count - DISTANCES - 257, 5);
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

// The symbol of a match's length, and the number that follows it in `extra_bits` bits. (RFC 1951, 3.2.5.)
static inline uint32_t length_symbol(size_t length, uint32_t* extra, size_t* extra_bits) {
    const uint32_t past = (uint32_t)length - SHORTEST_MATCH;
    if (length == LONGEST_MATCH || past < 8) {
        *extra = 0, *extra_bits = 0;
        return length == LONGEST_MATCH ? SYMBOLS - 1 : END + 1 + past;
    }
    const uint32_t bits = 29 - (uint32_t)__builtin_clz(past);
    *extra = past & ((1u << bits) - 1), *extra_bits = bits;
    return END + 1 + 4 * bits + (past >> bits);
}

// How much of `left` bytes a match takes, so that what is left over is none or can be one, too.
static inline size_t piece_of(size_t left) {
    if (left <= LONGEST_MATCH) return left;
    return left - LONGEST_MATCH < SHORTEST_MATCH ? left - SHORTEST_MATCH : LONGEST_MATCH;
}

// Runs of zeros that have eight in a row at a multiple of eight behind the last run. Returns how many there are.
static size_t find_runs(const uint8_t* data, size_t length, run_t* runs) {
    size_t made = 0, done = 0;
    for (size_t at = 0; at + 8 <= length;) {
        words_t words;
        while (at + sizeof words <= length) {
            memcpy(&words, data + at, sizeof words);
            if (__builtin_reduce_or(words == 0)) break;
            at += sizeof words;
        }
        if (at + 8 > length) break;
        uint64_t word;
        memcpy(&word, data + at, sizeof word);
        if (word) {
            at += 8;
            continue;
        }
        size_t start = at, end = at + 8;
        while (start > done && data[start - 1] == 0) start--;
        while (end < length && data[end] == 0) end++;
        if (end - start >= LEAST_RUN) {
            runs[made++] = (run_t){(uint32_t)start + 1, (uint32_t)(end - start) - 1};
            done = end;
        }
        at = end;
    }
    return made;
}

// How often each byte occurs; in several tables, since equal neighbours would wait for each other's sums.
static inline void count_bytes(const uint8_t* data, size_t length, uint32_t counts[8][SYMBOLS]) {
    size_t i = 0;
    for (; i + 8 <= length; i += 8)
        for (size_t k = 0; k < 8; k++) counts[k][data[i + k]]++;
    for (; i < length; i++) counts[0][data[i]]++;
}

// How often each symbol occurs in a block.
static void count_symbols(
    const uint8_t* data, size_t length, const run_t* runs, size_t run_count, uint32_t counts[SYMBOLS]
) {
    uint32_t several[8][SYMBOLS] = {{0}};
    size_t at = 0;
    memset(counts, 0, SYMBOLS * sizeof *counts);
    for (size_t i = 0; i < run_count; i++) {
        count_bytes(data + at, runs[i].start - at, several);
        for (size_t left = runs[i].length, piece; left; left -= piece) {
            uint32_t extra;
            size_t extra_bits;
            piece = piece_of(left);
            counts[length_symbol(piece, &extra, &extra_bits)]++;
        }
        at = runs[i].start + runs[i].length;
    }
    count_bytes(data + at, length - at, several);
    for (size_t k = 0; k < 8; k++)
        for (size_t i = 0; i < END; i++) counts[i] += several[k][i];
    counts[END] = 1;
}

// Bytes by their codes, which `table` has in its highest bits and their lengths in its lowest. Codes are put upon those
// before, so that the oldest is lowest when they are shifted down. The lengths get into the lowest four bits, where
// nothing is as long as four codes and the seven bits that wait for a whole byte leave so many free.
static inline void put_bytes(writer_t* writer, const uint64_t* table, const uint8_t* data, size_t length) {
    uint8_t* next = writer->next;
    uint64_t count = writer->count, stack = count ? writer->waiting << (64 - count) : 0;
    size_t i = 0;
    for (; i + 4 <= length; i += 4) {
        const uint64_t a = table[data[i]], b = table[data[i + 1]], c = table[data[i + 2]], d = table[data[i + 3]];
        const uint64_t first = a >> b % 64 | b, first_length = a + b;
        const uint64_t second = c >> d % 64 | d, second_length = c + d;
        stack = (stack >> first_length % 64 | first) >> second_length % 64 | second;
        count = (count + first_length + second_length) % 64;
        const uint64_t bits = stack >> -count % 64;
        memcpy(next, &bits, sizeof bits);
        next += count / 8;
        count %= 8;
    }
    *writer = (writer_t){next, count ? stack >> (64 - count) : 0, count};
    for (; i < length; i++) {
        const size_t bits = table[data[i]] % 64;
        put(writer, table[data[i]] >> (64 - bits), bits);
        flush(writer);
    }
}

// A run as matches of the zero before it.
static void put_run(writer_t* writer, const code_t* codes, size_t length) {
    for (size_t left = length, piece; left; left -= piece) {
        uint32_t extra;
        size_t extra_bits;
        piece = piece_of(left);
        const code_t code = codes[length_symbol(piece, &extra, &extra_bits)];
        put(writer, code.bits, code.length);
        put(writer, extra, extra_bits);
        put(writer, 0, 1);  // the distance
        flush(writer);
    }
}

static void put_block(writer_t* writer, const uint8_t* data, size_t length, int last) {
    run_t runs[BLOCK / LEAST_RUN];
    uint32_t counts[SYMBOLS];
    uint8_t lengths[SYMBOLS + DISTANCES];
    code_t codes[SYMBOLS];
    uint64_t table[END];
    const size_t run_count = find_runs(data, length, runs);
    count_symbols(data, length, runs, run_count, counts);
    find_lengths(counts, SYMBOLS, LONGEST, lengths);
    assign(lengths, SYMBOLS, codes);
    for (size_t i = 0; i < END; i++)
        table[i] = codes[i].length ? (uint64_t)codes[i].bits << (64 - codes[i].length) | codes[i].length : 0;
    size_t used = SYMBOLS;
    while (lengths[used - 1] == 0) used--;
    memset(lengths + used, 1, DISTANCES);
    put(writer, last != 0, 1);
    put(writer, 2, 2);
    put_lengths(writer, lengths, used + DISTANCES);
    writer_t local = *writer;
    size_t at = 0;
    for (size_t i = 0; i < run_count; i++) {
        put_bytes(&local, table, data + at, runs[i].start - at);
        put_run(&local, codes, runs[i].length);
        at = runs[i].start + runs[i].length;
    }
    put_bytes(&local, table, data + at, length - at);
    put(&local, codes[END].bits, codes[END].length);
    flush(&local);
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
