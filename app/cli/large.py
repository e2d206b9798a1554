"""The command `lapsrn upscale-large`."""

import asyncio
import sys
import time
from dataclasses import replace
from pathlib import Path

from prometheus_client import CollectorRegistry

from app import build
from app.bands.run import BandUpscaler
from app.cli import conditions, files
from app.cli.inputs import FORMAT_OF_SUFFIX, SUFFIXES, PlanError, check_name
from app.cli.local import check_network, local_settings
from app.cli.wording import as_flags, printable
from app.errors import LapsrnError, StartupError
from app.memory import available
from app.metrics import Metrics
from app.options import UpscaleOptions
from app.settings import Settings

_BAND_BYTES = 768 << 20
_SHARE = 3  # a band gets at most 1/_SHARE of the memory: the network's workers and caches need the rest


def upscale_large(
    source: Path,
    target: Path,
    options: UpscaleOptions,
    weights: Path | None,
    device: str | None,
    *,
    overwrite: bool,
    quiet: bool,
) -> int:
    """Returns 0 once the result exists. Raises PlanError, StartupError and KeyboardInterrupt."""
    suffix = target.suffix.lower()
    form = options.format or FORMAT_OF_SUFFIX.get(suffix, "png")
    if form not in ("png", "tiff"):
        raise PlanError(f"-o {target}: a large result is written as PNG or TIFF, not {form}.")
    if suffix in SUFFIXES - FORMAT_OF_SUFFIX.keys():
        raise PlanError(
            f"-o {target}: a large result is written as PNG or TIFF; name a file that ends in .png or .tif."
        )
    check_name(target, options.format)
    conditions.check_scale(options)
    options = replace(options, format=form)
    conditions.check_format(options, form)
    if reason := files.unreadable(source):
        raise StartupError(f"{source} cannot be read: {reason}")
    if reason := files.unwritable(target, folder=False):
        raise PlanError(f"-o {target} cannot be written: {reason}.")
    if target.exists() and target.samefile(source):
        raise PlanError(f"-o {target} would replace the source.")
    if target.exists() and not overwrite:
        _say(f"{target} exists; nothing to do (--overwrite makes it again)", quiet)
        return 0
    settings = local_settings(weights, device)
    check_network(settings, options.model)
    try:
        asyncio.run(_run(source, target, options, settings, quiet))
    except OSError as error:
        raise StartupError(f"{source} cannot be upscaled to {target}: {files.reason(error)}") from error
    except LapsrnError as error:
        if isinstance(error, StartupError):
            raise
        raise StartupError(f"{source}: {as_flags(str(error))}") from error
    return 0


async def _run(source: Path, target: Path, options: UpscaleOptions, settings: Settings, quiet: bool) -> None:
    _say("loading the network", quiet)
    metrics = Metrics(CollectorRegistry())
    engine = build.build_engine(settings, metrics, build.open_model(settings, None), warm_up="nothing")
    began = time.monotonic()
    async with engine:
        memory = min(_BAND_BYTES, available().bytes // _SHARE)
        upscaler = BandUpscaler(source, target, options, engine, build.build_formulas(), memory)
        try:
            await upscaler.run(lambda done, total: _say(f"{done} of {total} bands", quiet))
        finally:
            upscaler.close()
    _say(f"{target} in {time.monotonic() - began:.1f} s", quiet)


def _say(text: str, quiet: bool) -> None:
    if not quiet:
        print(f"lapsrn: {printable(text)}", file=sys.stderr, flush=True)
