"""Upscales through a running service."""

import httpx

from app.cli.batch import PictureError, Progress, Result
from app.client import AsyncUpscaler, Options, UpscaleError


class RemoteBackend:
    """Sends pictures to a service, several at once."""

    def __init__(self, url: str, scale: int, level: int, options: Options, api_key: str, at_once: int) -> None:
        """`url` is the address of the service; `level` is the wanted one of the pass at `scale`."""
        self.at_once = at_once
        self._url, self._scale, self._level, self._options = url, scale, level, options
        self._client = AsyncUpscaler(url, api_key)

    async def upscale(self, data: bytes, progress: Progress | None) -> Result:
        """Sends one picture, as a job if `progress` is to be called. Raises PictureError."""
        try:
            result = await self._client.upscale(data, self._scale, self._options, progress)
            if self._level != self._scale:
                if not result.id:
                    raise PictureError("the service keeps no results, so it has no smaller level; use --scale instead")
                result = await self._client.level(result.id, self._level)
        except UpscaleError as error:
            raise PictureError(str(error), error.type) from error
        except httpx.HTTPError as error:
            raise PictureError(f"no answer from {self._url}: {error or type(error).__name__}") from error
        return Result(result.body, result.clean)

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.__aexit__()
