"""The engine inside a program, without a server: the result has the same kind as the picture passed in."""

import asyncio
import io
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

import imagecodecs
import numpy as np
from lapsrn_client.pictures import data_of
from numpy.typing import NDArray

from app.cli.batch import PictureError
from app.cli.local import LocalBackend, check_network, local_settings
from app.options import UpscaleOptions

if TYPE_CHECKING:
    from PIL import Image

T = TypeVar("T")
Array = NDArray[np.uint8] | NDArray[np.uint16]
Progress = Callable[[int, int], None]


class Upscaler:
    """Loads the networks once, with its own threads; `upscale` may be called from several threads concurrently."""

    def __init__(self, *, weights: str | Path | None = None, device: str | None = None) -> None:
        """Uses the shipped networks on the best device, unless `weights` or `device` ("cpu", "cuda:0") are given.

        Settings come from the environment (LAPSRN_*). Raises app.errors.StartupError.
        """
        self._settings = local_settings(None if weights is None else Path(weights), device)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lapsrn", daemon=True)
        self._thread.start()
        self._closed = False
        try:
            self._backend = self._run(self._opened())
        except BaseException:
            self._end()
            raise

    async def _opened(self) -> LocalBackend:
        backend = LocalBackend(self._settings, UpscaleOptions(), None)
        await backend.start()
        return backend

    @overload
    def upscale(
        self, picture: "Image.Image", scale: float = 4, *, progress: Progress | None = None, **options: Any
    ) -> "Image.Image": ...

    @overload
    def upscale(
        self, picture: Array, scale: float = 4, *, progress: Progress | None = None, **options: Any
    ) -> Array: ...

    @overload
    def upscale(
        self, picture: bytes | str | Path, scale: float = 4, *, progress: Progress | None = None, **options: Any
    ) -> bytes: ...

    def upscale(self, picture: Any, scale: float = 4, *, progress: Progress | None = None, **options: Any) -> Any:
        """The picture `scale` times as wide and high: a Pillow image, an array, or for bytes and paths a file.

        An array is (height, width) or (height, width, 1 to 4), uint8 or uint16, and so is its result. `options` are
        those of app.options.UpscaleOptions, such as width=, model= or effort=; format= and quality= go with files.
        `progress` is called with the tiles done and the total, from another thread. Raises ValueError for what cannot
        be upscaled.
        """
        as_image = hasattr(picture, "convert")
        as_array = hasattr(picture, "__array_interface__") and not as_image
        asked = UpscaleOptions(scale=scale, **options)
        if (as_image or as_array) and (asked.format, asked.quality) != (None, None):
            asked = replace(asked, format="png", quality=asked.quality if asked.lossy_quality is None else None)
        check_network(self._settings, asked.model)
        try:
            body = self._run(self._backend.upscale(data_of(picture), progress, asked)).body
        except PictureError as error:
            raise ValueError(str(error)) from error
        if as_image:
            from PIL import Image

            image = Image.open(io.BytesIO(body))
            image.load()
            return image
        if as_array:
            samples = np.asarray(imagecodecs.png_decode(body))
            return samples.reshape(*samples.shape[:2], *np.shape(picture)[2:])
        return body

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._closed:
            work.close()
            raise RuntimeError("this Upscaler is closed")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        """Ends the threads. A second call has no effect."""
        if not self._closed:
            self._run(self._backend.close())
            self._end()

    def _end(self) -> None:
        self._closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> "Upscaler":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_default: Upscaler | None = None
_lock = threading.Lock()


def upscale(picture: Any, scale: float = 4, *, progress: Progress | None = None, **options: Any) -> Any:
    """Upscaler.upscale with the shipped networks; the first call loads them, and they stay loaded."""
    global _default
    with _lock:
        if _default is None:
            _default = Upscaler()
    return _default.upscale(picture, scale, progress=progress, **options)
