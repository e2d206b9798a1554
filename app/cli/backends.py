"""Opens what upscales the pictures of a command: this machine, or a service."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from app.cli.batch import Backend
from app.errors import StartupError
from app.options import UpscaleOptions


@dataclass(frozen=True, slots=True)
class Place:
    """Where pictures are upscaled: by the service at `server`, or here with these weights on this device."""

    server: str | None = None
    api_key: str = ""
    jobs: int = 4
    """Requests to the service at the same time."""
    weights: Path | None = None
    device: str | None = None


@asynccontextmanager
async def open_backend(
    place: Place, options: UpscaleOptions, level: int | None, loading: Callable[[], None]
) -> AsyncIterator[Backend]:
    """A backend for pictures with these options; `level` is a smaller level of the pass, None the largest.

    `loading` is called before the network is loaded, after all checks that do not need it. Raises StartupError. If the
    body is interrupted, work in progress is not awaited, as the command ends.
    """
    backend = (
        _remote(place, place.server, options, level) if place.server else await _local(place, options, level, loading)
    )
    try:
        yield backend
    except Exception:
        await backend.close()
        raise
    await backend.close()


def _remote(place: Place, server: str, options: UpscaleOptions, level: int | None) -> Backend:
    """Raises StartupError."""
    from lapsrn_client import Options, UpscaleError

    from app.cli.remote import RemoteBackend

    asked = asdict(options) | {"ensemble": options.ensemble or None}
    del asked["scale"]
    try:
        return RemoteBackend(server, options.scale, level, Options(**asked), place.api_key, place.jobs)
    except UpscaleError as error:
        raise StartupError(str(error)) from None


async def _local(place: Place, options: UpscaleOptions, level: int | None, loading: Callable[[], None]) -> Backend:
    from app.cli.local import LocalBackend, check_network, local_settings

    settings = local_settings(place.weights, place.device)
    check_network(settings, options.model)
    loading()
    backend = LocalBackend(settings, options, level)
    await backend.start()
    return backend
