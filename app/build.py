"""Builds the parts of the service from Settings, for the server and for the command line; importing does nothing."""

import contextlib
import functools
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from app.codec import Codec, DecodeLimits, Formulas, decoder_child
from app.codec.decoder_pool import DecoderPool
from app.codec.formats import readable
from app.engine import Engine, EngineConfig, ModelFactory
from app.engine.config import WarmUp
from app.errors import StartupError
from app.metrics import Metrics
from app.process.control_groups import cores_allowed
from app.settings import Settings
from model.color import RGB_FROM_YCBCR, YCBCR_FROM_RGB, YCBCR_OFFSET
from model.resample import contributions, downsample_kernel, upsample_kernel

if TYPE_CHECKING:
    from model.backends.backend import Tiling
    from model.runtime import Weights
    from model.weights import NetworkInfo


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Checked weights: a factory for each worker, and an engine configuration that suits their backend."""

    factories: Sequence[ModelFactory]
    engine: EngineConfig = field(default_factory=EngineConfig)
    memory: int = 0
    """Bytes of host memory that the networks take once they are warm."""
    accelerator: bool = False


def build_formulas() -> Formulas:
    """The project's single definition of colour conversion and resampling, in the form that the codec needs."""
    return Formulas(
        YCBCR_FROM_RGB,
        YCBCR_OFFSET,
        RGB_FROM_YCBCR,
        functools.cache(upsample_kernel),
        functools.cache(downsample_kernel),
        contributions,
    )


def build_limits(settings: Settings) -> DecodeLimits:
    """What the decoder accepts: the formats in LAPSRN_FORMATS whose packages are installed."""
    formats = readable(settings.formats)
    return DecodeLimits(settings.max_input_bytes, settings.max_input_pixels, settings.max_output_pixels, formats)


def build_codec(settings: Settings, decoders: DecoderPool | None = None) -> Codec:
    """The codec with this project's formulas and the settings' limits; it decodes in `decoders` if there are any."""
    read = None if decoders is None else decoders.read
    return Codec(build_formulas(), build_limits(settings), threads=codec_threads(settings), read=read)


def build_decoders(settings: Settings, metrics: Metrics) -> DecoderPool | None:
    """The decoder processes, not started yet; None if pictures are decoded in this process."""
    if decodes_inline(settings):
        return None
    metrics.decoders_up(False)
    return DecoderPool(
        decoder_count(settings),
        build_limits(settings),
        timeout_seconds=settings.decode_timeout_seconds,
        observer=metrics,
    )


def decodes_inline(settings: Settings) -> bool:
    """Whether pictures are decoded in this process: by the settings, or because the system permits nothing else."""
    return settings.decode == "inline" or not decoder_child.POSSIBLE


def decoder_count(settings: Settings) -> int:
    """The number of decoder processes: one more than a single client may use."""
    return 0 if decodes_inline(settings) else max(2, codec_threads(settings)) + 1


def build_engine(settings: Settings, metrics: Metrics, source: ModelSource, warm_up: WarmUp | None = None) -> Engine:
    """An engine with one worker per factory and the settings' limits, not started yet.

    `warm_up` overrides the device's own choice.
    """
    config = replace(
        source.engine,
        max_tiles=settings.max_queue_tiles,
        max_bytes=settings.max_queue_bytes,
        hang_seconds=settings.hang_seconds,
    )
    return Engine(source.factories, config if warm_up is None else replace(config, warm_up=warm_up), metrics)


def engine_config(tiling: "Tiling") -> EngineConfig:
    """The engine's defaults, with the tile shapes and batch sizes of a backend."""
    return EngineConfig(**asdict(tiling))


def open_model(settings: Settings, models: Sequence[ModelFactory] | None) -> ModelSource:
    """The networks' factories, after their weights have been checked. Raises a one-line StartupError."""
    if models is not None:
        return ModelSource(models)
    weights_files(settings)  # missing files are reported before any is read
    from model import runtime
    from model.backends.registry import choose
    from model.devices import devices as devices_of

    with _as_startup_error():
        weights = open_weights(settings)
    _check_weights(settings, weights)
    with _as_startup_error("LAPSRN_DEVICES or --device: "):
        devices = devices_of(settings.devices)
    with _as_startup_error("LAPSRN_BACKEND: "):
        chosen = [choose(each.info.config, devices[0], settings.dtype, settings.backend) for each in weights]
    if devices == ["cpu"]:
        devices *= settings.cpu_workers or cores()
    factories = [
        functools.partial(runtime.load, weights, device, settings.dtype, settings.worker_threads, settings.backend)
        for device in devices
    ]
    backend = chosen[0].backend
    computing = [each.info.config for each in weights if not each.info.full_strength_of]  # others are strengths of them
    memory = backend.memory(computing, len(factories))
    return ModelSource(factories, engine_config(backend.tiling(devices[0])), memory, devices[0] != "cpu")


def _check_weights(settings: Settings, weights: "Sequence[Weights]") -> None:
    """Raises StartupError if two networks have the same name, or the first one is not that of LAPSRN_WEIGHTS_SHA256."""
    names = [each.info.name for each in weights]
    if len(set(names)) < len(names):
        raise StartupError(f"weights files must differ in name, as that is what model= asks for: {', '.join(names)}")
    found = weights[0].info.sha256
    if settings.weights_sha256 not in (None, found):
        raise StartupError(
            f"{settings.weights} has SHA-256 {found}, not the {settings.weights_sha256} of "
            "LAPSRN_WEIGHTS_SHA256; restore the file or correct the setting"
        )


@contextlib.contextmanager
def _as_startup_error(prefix: str = "") -> Iterator[None]:
    """Turns every error into a StartupError; `prefix` names the setting at fault."""
    try:
        yield
    except Exception as error:
        raise StartupError(f"{prefix}{error}") from error


def weights_files(settings: Settings) -> list[list[Path]]:
    """The weights files of all networks in groups, the first network's first. They are not read.

    Each file or folder is a group; a folder contributes those files whose names do not occur in earlier groups. Raises
    StartupError if a file or a folder is missing.
    """
    groups = [[settings.weights]]
    for place in settings.other_weights:
        taken = {file.stem for group in groups for file in group}
        inside = (file for file in place.glob("*.safetensors") if file.stem not in taken)
        groups.append(sorted(inside) if place.is_dir() else [place])
    for number, group in enumerate(groups):
        for file in group:
            if not file.exists():
                setting = "LAPSRN_MORE_WEIGHTS" if number else "LAPSRN_WEIGHTS"
                raise StartupError(f"no weights at {file}; set {setting}, or train some with lapsrn train")
    return groups


def open_weights(settings: Settings) -> "list[Weights]":
    """The weights of every network, read and checked, the default one first. Raises model.weights.WeightsError.

    The files of a folder are sorted by name, with deep companions after the others and special-purpose networks last: a
    request that names no network gets the first one with its scale, which should suit pictures of any kind. Weights
    that belong together are joined.
    """
    from model.relations import join
    from model.runtime import Weights

    found: list[Weights] = []
    for group in weights_files(settings):
        found += sorted(map(Weights.open, group), key=lambda each: _rank(each.info))
    return join(found)


def _rank(info: "NetworkInfo") -> tuple[bool, bool, str]:
    return info.purpose != "", info.deep_of != "", info.name


def codec_threads(settings: Settings) -> int:
    """Threads that write large pictures while the network works: as set, otherwise half the cores."""
    return settings.codec_threads or max(1, cores() // 2)


def cores() -> int:
    """Cores that this process may use, by its affinity and the limits of its control groups.

    With more threads than the quota allows, the kernel would throttle all of them at once, including the event loop.
    """
    count = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(count, cores_allowed() or count)


def package_version() -> str:
    """The installed package's version."""
    try:
        return version("lapsrn")
    except PackageNotFoundError:
        return "0.0.0"
