"""The way of a picture: what an upload goes through, from bytes to finished levels; knows no HTTP framework."""
