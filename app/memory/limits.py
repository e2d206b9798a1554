"""Derives the service's limits from the available memory: defaults that fit, or a refusal that says what to set.

The limits on bytes in Settings are the most that each may be. Where memory is short, those that were not set are
lowered to fixed parts of what the process, the networks and the decoders leave.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType

from app.errors import StartupError
from app.memory.available import Available
from app.settings import Settings

MIB = 1024 * 1024
PROCESS = 192 * MIB
"""Python, libraries, and memory that the allocator keeps."""
ACCELERATOR = 2048 * MIB
"""Host memory of a driver and its libraries (an estimate)."""
DECODER = 48 * MIB
"""An idle decoder process."""
THREAD = 32 * MIB
"""The bands that a codec thread is working on."""
DECODING = 24
"""Bytes per pixel of the largest picture, in each decoder and on the way from there into planes."""
RESERVE = 16
"""The kernel's buffers and page cache get 1/RESERVE of the memory."""
PARTS: Mapping[str, int] = MappingProxyType(
    {"max_body_bytes_in_flight": 16, "max_answer_bytes_in_flight": 12, "result_max_bytes": 12}
)
"""Each limit gets one part in this many of the room; pictures in progress get the rest."""
LEAST = 64 * MIB
"""Minimum for pictures in progress, without which the service would be useless."""


@dataclass(frozen=True, slots=True)
class Base:
    """What takes memory before the first picture: `networks` in bytes, for all workers; the others are counts."""

    networks: int
    decoders: int
    codec_threads: int
    accelerator: bool = False

    @property
    def bytes(self) -> int:
        """The total."""
        fixed = PROCESS + ACCELERATOR * self.accelerator + self.networks
        return fixed + DECODER * self.decoders + THREAD * self.codec_threads


@dataclass(frozen=True, slots=True)
class Division:
    """How the memory is divided, in bytes; the fields are in the order in which they are subtracted."""

    available: int
    source: str
    reserve: int
    base: int
    decoding: int
    bodies: int
    answers: int
    results: int
    pictures: int

    def mebibytes(self) -> dict[str, int | str]:
        """For the log and for `lapsrn doctor`."""
        return {name: value if isinstance(value, str) else value // MIB for name, value in asdict(self).items()}


def fitted(settings: Settings, memory: Available, base: Base) -> Settings:
    """`settings` with unset limits lowered to what fits. Raises StartupError if those that were set do not fit."""
    usable = memory.bytes - memory.bytes // RESERVE - base.bytes
    update: dict[str, int] = {}
    if "max_input_pixels" not in settings.model_fields_set:
        most = max(1, usable // 4 // (DECODING * max(1, base.decoders)))
        update["max_input_pixels"] = min(settings.max_input_pixels, most)
    room = usable - _decoding(settings.model_copy(update=update), base)
    chosen = [name for name in (*PARTS, "max_queue_bytes") if name in settings.model_fields_set]
    rest = room - sum(getattr(settings, name) for name in chosen if _held_here(settings, name))
    free = [name for name in PARTS if name not in chosen]
    if rest < (0 if "max_queue_bytes" in chosen else LEAST):
        raise StartupError(_refusal(settings, memory, base, chosen))
    for name in free:
        least = settings.max_input_bytes if name == "max_body_bytes_in_flight" else 0
        update[name] = min(getattr(settings, name), max(rest // PARTS[name], min(least, rest // 4)))
    if "max_queue_bytes" not in chosen:
        taken = sum(update[name] for name in free if _held_here(settings, name))
        update["max_queue_bytes"] = min(settings.max_queue_bytes, rest - taken)
    fit = settings.model_copy(update=update)
    return fit.model_copy(update={"max_input_bytes": min(fit.max_input_bytes, fit.max_body_bytes_in_flight)})


def divided(settings: Settings, memory: Available, base: Base) -> Division:
    """The division of memory by the limits in `settings`, which are from `fitted`."""
    return Division(
        memory.bytes,
        memory.source,
        memory.bytes // RESERVE,
        base.bytes,
        _decoding(settings, base),
        settings.max_body_bytes_in_flight,
        settings.max_answer_bytes_in_flight,
        settings.result_max_bytes if _held_here(settings, "result_max_bytes") else 0,
        settings.max_queue_bytes,
    )


def _decoding(settings: Settings, base: Base) -> int:
    return DECODING * settings.max_input_pixels * max(1, base.decoders)


def _held_here(settings: Settings, name: str) -> bool:
    """Whether the bytes that this setting limits are in this process's memory."""
    return name != "result_max_bytes" or settings.redis_url is None


def _refusal(settings: Settings, memory: Available, base: Base, chosen: list[str]) -> str:
    """The error text, in one line."""
    taken = f"{base.bytes // MIB:,} MiB are for the process, its networks and its decoders"
    text = f"{memory.source} is {memory.bytes // MIB:,} MiB, of which {taken}; "
    if not chosen and "max_input_pixels" not in settings.model_fields_set:
        smaller = "LAPSRN_CPU_WORKERS or LAPSRN_CODEC_THREADS" if settings.replicas == 1 else "LAPSRN_REPLICAS"
        return text + (
            "too little is left for pictures. Give it more memory, set LAPSRN_MORE_WEIGHTS=none or a smaller "
            f"{smaller}, or, if the service may use more than that, LAPSRN_MEMORY_BYTES"
        )
    names = [*chosen, *(["max_input_pixels"] if "max_input_pixels" in settings.model_fields_set else [])]
    values = ", ".join(f"LAPSRN_{name.upper()}={getattr(settings, name)}" for name in names)
    return text + f"what is left does not hold {values}. Lower or leave out some of them, or give it more memory"
