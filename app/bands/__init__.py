"""Pictures beyond any limit: read, upscaled and written a band of rows at a time, and resumed after a stop."""
