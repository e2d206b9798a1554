"""Upscales a large picture: one plan, its bands by any number of processes, and the file."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from app.bands.assemble import assemble
from app.bands.picture import LargePicture, Whole, context_of
from app.bands.source import open_source, version_of
from app.bands.work import Work
from app.codec import Formulas
from app.codec.merge import Merger
from app.codec.metadata import fitted
from app.codec.types import Decoded, Samples
from app.engine import Engine
from app.errors import BadParameter, LapsrnError
from app.options import UpscaleOptions
from app.service import choice, clean_up, plan

_STEP = 64  # the source rows of a band are a multiple of this
_MOST_ROWS = 1024  # so that a killed process loses little, and several find work
_LOOK_AGAIN_SECONDS = 0.5

Report = Callable[[int, int], None]
"""Called with (bands done, bands in all)."""


class BandUpscaler:
    """One large picture. Any number of processes may run it at once; one of them writes the result."""

    def __init__(
        self,
        source: Path,
        target: Path,
        options: UpscaleOptions,
        engine: Engine,
        formulas: Formulas,
        memory: int,
    ) -> None:
        """`engine` has been started; `memory` is how many bytes the arrays of one band may take.

        Raises OSError, ClientErrors for what cannot be upscaled in bands, and StartupError.
        """
        self._path, self._target, self._options = source, target, options
        self._engine, self._formulas, self._memory = engine, formulas, memory
        self._work = Work(folder_of(target))
        try:
            self._picture = LargePicture(open_source(source, self._work.folder), options, formulas)
        except (LapsrnError, OSError):
            self._work.forget()
            raise
        try:
            self._prepare()
        except (LapsrnError, OSError):
            self._picture.close()
            self._work.forget()
            raise
        self._threads = ThreadPoolExecutor(thread_name_prefix="merge")

    async def run(self, report: Report) -> None:
        """Returns when the result is there. After a cancelled or killed run, the next one goes on with its work.

        Raises OSError, InferenceFailed and UndecodablePicture.
        """
        count = -(-self._whole.height // self._rows)
        report(self._count_done(count), count)
        while True:
            if await self._one_band(count, report):
                continue
            if self._count_done(count) == count:
                with self._work.claim("result") as mine:
                    if mine:
                        self._finish(count)
                        return
            if not self._work.under_way:  # another process has finished it
                return
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    def _prepare(self) -> None:
        """Makes the plan, or takes the one that another process has made."""
        options = self._options
        asked: dict[str, Any] = {"source": version_of(self._path.stat()), "options": asdict(options)}
        made = None if options.sized else plan.make_plan(self._engine, options, 1, 1)
        if made is None or made.size is not None:
            raise BadParameter("In bands, scale is one of the levels 2, 4 and 8, and no size is given.")
        networks = self._engine.networks
        self._network, self._scale = networks[made.network], made.compute
        asked["network"] = [made.network, choice.family(networks, self._network)]
        known = self._work.plan(asked, self._new_plan)
        self._whole, self._rows = Whole(**known["whole"]), int(known["rows"])
        self._clean, self._compressed = float(known["clean"]), bool(known.get("compressed", True))
        self._options = replace(options, clean=self._clean)
        self._chosen = self._choose(self._clean)
        self._context = self._context_for(self._chosen)

    def _choose(self, strength: float) -> choice.Choice:
        return choice.choose(self._engine.networks, self._network, self._options.asked_effort, strength)

    def _context_for(self, chosen: choice.Choice) -> int:
        return context_of(self._engine.networks[chosen.network].window_margin)

    def _new_plan(self) -> dict[str, Any]:
        """Looks through the picture for what its bands have to agree on."""
        whole = self._picture.whole()
        networks, clean = self._engine.networks, self._options.clean
        look = clean != 0 and clean_up.strengths_of(networks, self._network)
        chosen = clean_up.choose(networks, self._network, clean, self._picture.findings() if look else ())
        rows = self._rows_in_memory(whole, self._context_for(self._choose(chosen.strength)))
        return {"whole": asdict(whole), "rows": rows, "clean": chosen.strength, "compressed": chosen.compressed}

    def _rows_in_memory(self, whole: Whole, context: int) -> int:
        """The source rows of a band whose arrays, with `context` rows above and below, fit into the memory."""
        levels = self._engine.levels(self._network.name, self._scale)
        planes = 1 + (whole.alpha == "varies")
        floats = planes * (2 + sum(level**2 for level in levels)) + 4
        pixel = 4 * floats + whole.channels * whole.depth // 8 * (4 + self._scale**2)
        rows = self._memory // (whole.width * pixel) - 2 * context
        return max(_STEP, min(rows, _MOST_ROWS) // _STEP * _STEP)

    def _count_done(self, count: int) -> int:
        return sum(map(self._work.done, range(count)))

    async def _one_band(self, count: int, report: Report) -> bool:
        """Computes the next band that no process has claimed; False if there is none."""
        for band in range(count):
            if self._work.done(band):
                continue
            with self._work.claim(f"{band:06}") as mine:
                if mine and not self._work.done(band):
                    await asyncio.to_thread(self._work.put, band, await self._band(band))
                    report(self._count_done(count), count)
                    return True
        return False

    async def _band(self, band: int) -> Samples:
        first = band * self._rows
        last = min(first + self._rows, self._whole.height)
        top, bottom = max(first - self._context, 0), min(last + self._context, self._whole.height)
        decoded: Decoded = await asyncio.to_thread(self._picture.decoded, top, bottom, self._whole)
        outputs = await self._engine.upscale(
            decoded.planes,
            scale=self._scale,
            client="",
            network=self._chosen.network,
            clean=decoded.strengths(self._clean),
            compressed=self._compressed,
            passes=self._chosen.passes,
        )
        planes = decoded.by_frame(outputs, self._scale)[0]
        merger = Merger(
            decoded.frames[0],
            self._scale,
            decoded.depth,
            self._formulas,
            consistent=True,
            cleaned=self._options.cleans,
        )
        samples: Samples = await asyncio.to_thread(merger.rows, planes, first - top, last - top, self._threads)
        return samples

    def _finish(self, count: int) -> None:
        height, width = self._whole.height * self._scale, self._whole.width * self._scale
        target = self._options.output_format
        metadata = fitted(self._picture.metadata, self._scale, height, width, target)
        assemble(self._target, self._work, count, (height, width, self._whole.channels), metadata, self._options)
        self._work.remove()

    def close(self) -> None:
        """Ends the threads and closes the source."""
        self._picture.close()
        self._threads.shutdown()


def folder_of(target: Path) -> Path:
    """The folder of a result's bands until it is complete."""
    return target.with_name(f"{target.name}.bands")
