"""Super-resolution in a program, on this machine and without a server: `lapsrn.upscale(picture, scale=4)`."""

from app.embedded import Upscaler, upscale

__all__ = ["Upscaler", "upscale"]
