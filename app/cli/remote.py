"""Upscaling by a running service."""

import httpx

from app.cli.batch import PictureError, Progress
from app.client import AsyncUpscaler, Options, UpscaleError


class RemoteBackend:
    """Sends pictures to a service, several at once."""

    def __init__(self, url: str, scale: int, level: int, options: Options, api_key: str, at_once: int) -> None:
        """`url` is where the service is; `level` is the one of the pass at `scale` that is wanted."""
        self.at_once = at_once
        self._url, self._scale, self._level, self._options = url, scale, level, options
        self._client = AsyncUpscaler(url, api_key)

    async def upscale(self, data: bytes, progress: Progress | None) -> bytes:
        """As Backend."""
        try:
            result = await self._client.upscale(data, self._scale, self._options, progress)
            if self._level != self._scale:
                if not result.id:
                    raise PictureError("the service has no room to keep results, so a smaller level cannot be had")
                result = await self._client.level(result.id, self._level)
        except UpscaleError as error:
            raise PictureError(str(error), error.type) from error
        except httpx.HTTPError as error:
            raise PictureError(f"no answer from {self._url}: {error or type(error).__name__}") from error
        return result.body

    async def close(self) -> None:
        """As Backend."""
        await self._client.__aexit__()
