"""A client of the LapSRN super-resolution service: `Upscaler`, and `AsyncUpscaler` for asyncio."""

from lapsrn_client.client import AsyncUpscaler, Upscaler
from lapsrn_client.errors import (
    BadRequest,
    Busy,
    JobFailed,
    NotAuthorized,
    NotFound,
    ServerError,
    TookTooLong,
    TooLarge,
    Unreachable,
    UnsupportedFormat,
    UpscaleError,
)
from lapsrn_client.pictures import Picture
from lapsrn_client.types import Job, Options, Progress, Upscaled

__all__ = [
    "AsyncUpscaler",
    "BadRequest",
    "Busy",
    "Job",
    "JobFailed",
    "NotAuthorized",
    "NotFound",
    "Options",
    "Picture",
    "Progress",
    "ServerError",
    "TooLarge",
    "TookTooLong",
    "Unreachable",
    "UnsupportedFormat",
    "UpscaleError",
    "Upscaled",
    "Upscaler",
]
