"""The state of a job at one moment; processes exchange it as JSON."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

State = Literal["queued", "running", "done", "failed", "cancelled"]
LAST_STATES: tuple[State, ...] = ("done", "failed", "cancelled")


class JobError(BaseModel):
    """Why a job failed: the error's slug and, if it was raised on purpose, its text."""

    model_config = ConfigDict(frozen=True)

    slug: str
    detail: str


class Made(BaseModel):
    """Information about a result besides its pixels, as in Upscaled; `clean` is as in StoredPicture."""

    model_config = ConfigDict(frozen=True)

    model: str
    clean: str
    left_out: tuple[str, ...]
    truncated: bool


class JobSnapshot(BaseModel):
    """`version` grows with every change; tiles are known from admission on; `levels` are those that can be fetched;
    `made` is set once the job is done.
    """

    model_config = ConfigDict(frozen=True)

    version: int
    id: str
    request_id: str
    state: State
    done_tiles: int
    total_tiles: int
    seconds_left: float | None
    levels: tuple[int, ...]
    made: Made | None = None
    error: JobError | None
    webhook: Literal["pending", "delivered", "failed"] | None = None

    @property
    def finished(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in LAST_STATES
