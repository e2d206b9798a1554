"""What can go wrong, by kind; every error is an UpscaleError."""

from functools import partial
from typing import Any


class UpscaleError(Exception):
    """The service said no, in the words of its problem document, or did not answer; `status` is HTTP's, or 0."""

    def __init__(
        self, type: str = "about:blank", title: str = "", detail: str = "", status: int = 500, **members: Any
    ) -> None:
        super().__init__(f"{title}: {detail}" if detail else title)
        self.type, self.title, self.detail, self.status = type, title, detail, status
        self.members = members
        """The other members of the problem document, such as `request_id` and `parameters`."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Whole when it is copied, or comes from another process."""
        return partial(type(self), self.type, self.title, self.detail, self.status, **self.members), ()


class Unreachable(UpscaleError):
    """There was no answer."""


class BadRequest(UpscaleError):
    """400 and 422: the picture does not decode, or an option does not fit; `detail` says what to do."""


class NotAuthorized(UpscaleError):
    """401 and 403: the API key is missing or not known."""


class NotFound(UpscaleError):
    """404: the result or the job never was, has expired, or is somebody else's."""


class TooLarge(UpscaleError):
    """413: too many bytes or pixels."""


class UnsupportedFormat(UpscaleError):
    """415: the file is in no format that is accepted."""


class Busy(UpscaleError):
    """429 and 503, still after all retries."""


class TookTooLong(UpscaleError):
    """504: not done within the deadline of the service."""


class ServerError(UpscaleError):
    """Another 5xx."""


class JobFailed(UpscaleError):
    """The job ended without a result."""


_KINDS: dict[int, type[UpscaleError]] = {
    400: BadRequest,
    401: NotAuthorized,
    403: NotAuthorized,
    404: NotFound,
    413: TooLarge,
    415: UnsupportedFormat,
    422: BadRequest,
    429: Busy,
    503: Busy,
    504: TookTooLong,
}


def error_of(status: int, reason: str, problem: dict[str, Any]) -> UpscaleError:
    """The error for an answer with this status and, if it was one, this problem document."""
    kind = _KINDS.get(status, ServerError if status >= 500 else UpscaleError)
    members: dict[str, Any] = {"title": reason} | problem | {"status": status}
    return kind(**{name: value for name, value in members.items() if name != "self"})
