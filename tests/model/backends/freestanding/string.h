// What winograd.c needs of a C library, for where there is none: run_winograd.c has it.

#pragma once

#include <stddef.h>

void* memcpy(void* restrict target, const void* restrict source, size_t size);
void* memset(void* target, int value, size_t size);
