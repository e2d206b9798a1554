"""Upscales through a running service."""

from lapsrn_client import AsyncUpscaler, Busy, Options, Unreachable, UpscaleError

from app.cli.batch import PictureError, Progress, Result


class RemoteBackend:
    """Sends pictures to a service, several at once."""

    def __init__(self, url: str, scale: float, level: int | None, options: Options, api_key: str, at_once: int) -> None:
        """`url` is the address of the service; `level` is a smaller level of the pass, None the largest."""
        self.at_once = at_once
        self._scale, self._level, self._options = scale, level, options
        self._client = AsyncUpscaler(url, api_key)

    async def upscale(self, data: bytes, progress: Progress | None) -> Result:
        """Sends one picture, as a job if `progress` is to be called. Raises PictureError."""
        try:
            made = result = await self._client.upscale(data, self._scale, self._options, progress)
            if self._level is not None:
                if not result.id:
                    raise PictureError("the service keeps no results, so it has no smaller level; use --scale instead")
                result = await self._client.level(result.id, self._level)
        except Unreachable as error:
            raise PictureError(str(error), passing=True) from error
        except UpscaleError as error:
            raise PictureError(str(error), error.type, passing=isinstance(error, Busy)) from error
        return Result(result.body, result.clean, made.left_out, made.truncated)

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()
