"""Pydantic models of parameters and of JSON responses."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from app.options import LevelChoice


def whole(value: object) -> object:
    """Converts digits to an int: query parameters are text, but a Literal of numbers accepts only numbers."""
    return int(value) if isinstance(value, str) and value.isdecimal() and value.isascii() else value


Level = Annotated[LevelChoice, BeforeValidator(whole)]
IdempotencyKey = Annotated[
    str,
    Field(
        min_length=1,
        max_length=255,
        description="For jobs: a repeated request with the same key, picture and options gets the same job, as long as "
        "it is remembered.",
        examples=["8e03978e-40d5-43e8-bc93-6894a57f9324"],
    ),
]
WebhookUrl = Annotated[
    str,
    Field(
        min_length=1,
        max_length=2048,
        description="For jobs: where the end is reported, signed as in Standard Webhooks. Only hosts that the operator "
        "allows.",
        examples=["https://example.org/lapsrn"],
    ),
]
JobId = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]


class StrictQuery(BaseModel):
    """Unknown parameters are refused, so that a typing error is not silently ignored."""

    model_config = ConfigDict(extra="forbid")


class ResultQuery(StrictQuery):
    """Which result, and which level of it."""

    level: Annotated[Level, Field(description="The pyramid level: 2 or 4, or 8 if the picture was upscaled that far.")]
    id: Annotated[
        JobId | None,
        Field(description="X-Upscale-Id of the POST; without it, the cookie that the POST set is used."),
    ] = None


class ForgetQuery(StrictQuery):
    """Which result to forget."""

    id: Annotated[
        JobId | None,
        Field(description="X-Upscale-Id of the POST; without it, the cookie that the POST set is used."),
    ] = None


class ProblemDocument(BaseModel):
    """RFC 9457 problem details."""

    type: Annotated[str, Field(description="Stable identifier.", examples=["urn:lapsrn:problem:too-many-pixels"])]
    title: str
    status: int
    detail: Annotated[str, Field(description="What was wrong, what is allowed, what to do.")]
    request_id: Annotated[str, Field(description="Also in X-Request-Id; quote it when you report a problem.")]
    parameters: Annotated[
        list[dict[str, str]] | None, Field(description="Which parameters did not validate, and why.")
    ] = None
    job: Annotated[str | None, Field(description="Address of the job to wait for, where there is one.")] = None


class Health(BaseModel):
    """Whether the service is alive, or ready."""

    status: Literal["ok", "dead", "warming", "ready", "degraded", "leaving", "draining", "failed"]


class Readiness(Health):
    """Whether the service takes work."""

    store: Annotated[
        Literal["ok", "full", "emptied", "unavailable"],
        Field(description="The results store: `full` keeps no new results, `emptied` has just lost those it had."),
    ]
    decoders: Annotated[
        Literal["ok", "starting", "unavailable"], Field(description="The processes that pictures are decoded in.")
    ]


class Worker(BaseModel):
    """One worker of the engine."""

    name: str
    device: str
    up: bool
    restarts: int


class InputLimits(BaseModel):
    """Limits on input and output pictures."""

    max_input_bytes: int
    max_input_pixels: int
    max_output_pixels: int
    formats: list[str]


class Network(BaseModel):
    """A served network."""

    name: Annotated[str, Field(description="What `model=` asks for.", examples=["lapsrn_x4"])]
    purpose: Annotated[
        str,
        Field(description="What it does besides enlarging; empty if nothing.", examples=["Clean up JPEG traces"]),
    ] = ""
    clean: Annotated[bool, Field(description="Whether `clean=` applies to it.")] = False
    full_strength_of: Annotated[
        str, Field(description="The network that equals this one at `clean=1`; empty if there is none.")
    ] = ""
    deep_of: Annotated[
        str,
        Field(
            description="The network whose deep companion this one is: the companion computes its pictures of high "
            "quality and those that are cleaned up. Empty if it is not a companion.",
            examples=["lapsrn_x4"],
        ),
    ] = ""
    levels: Annotated[list[int], Field(examples=[[2, 4]])]
    margin: Annotated[int, Field(description="Radius of the receptive field, in source pixels.")]
    sha256: Annotated[str, Field(description="SHA-256 of the weights file.")]
    scores: Annotated[dict[str, object], Field(description="Measured quality, from the weights' own metadata.")]


class ModelDocument(Network):
    """The default network, all served networks, and where they run."""

    models: Annotated[list[Network], Field(description="All networks, the default one first.")]
    device: Annotated[str, Field(examples=["cpu"])]
    dtype: Annotated[str, Field(examples=["float32"])]
    workers: list[Worker]
    limits: InputLimits


class TileProgress(BaseModel):
    """Progress, in tiles."""

    done: int
    total: Annotated[int, Field(description="0 until the picture is decoded.")]


class JobDocument(BaseModel):
    """A job."""

    id: Annotated[str, Field(description="Also the id of its result.")]
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    progress: TileProgress
    seconds_left: Annotated[float | None, Field(description="Estimate by the rate so far; null when not known.")]
    results: Annotated[
        dict[str, str],
        Field(description="Level to address, once done.", examples=[{"4": "/upscale?level=4&id=..."}]),
    ]
    model: Annotated[str | None, Field(description="As X-Upscale-Model; null until it is done.")]
    clean: Annotated[
        str | None,
        Field(description="As X-Upscale-Clean; null until it is done.", examples=["0.5; jpeg=90"]),
    ]
    metadata: Annotated[
        str | None,
        Field(description="As X-Upscale-Metadata, empty if nothing was left out; null until it is done."),
    ]
    truncated: Annotated[
        bool | None,
        Field(description="Whether a part of the picture was missing (`truncated=allow`); null until it is done."),
    ]
    error: Annotated[ProblemDocument | None, Field(description="Why it failed.")]
    webhook: Annotated[
        Literal["pending", "delivered", "failed"] | None,
        Field(description="Whether its webhook has been delivered, if it has one."),
    ] = None
