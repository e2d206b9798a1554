"""Pictures past any limit, in bands of rows: read, upscaled and written a band at a time, and gone on with later."""
