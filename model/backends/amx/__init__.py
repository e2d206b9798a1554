"""The folded network on AMX, in C: amx.c, what it does to sixteen pixels at a time, and its face in Python."""
