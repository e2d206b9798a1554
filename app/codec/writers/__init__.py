"""The formats of results, one module each: samples and what travels with them to the bytes of a file."""
