"""The folded network in float32 by Winograd's convolutions, in C: winograd.c, its blocks, and its face in Python."""
