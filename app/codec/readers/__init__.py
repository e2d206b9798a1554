"""The formats that pictures are sent in, one module each: the bytes of a file to samples and what travels with them."""
