"""The errors that the clients raise, by kind; all are UpscaleErrors."""

from functools import partial
from typing import Any


class UpscaleError(Exception):
    """The service refused, with the texts of its problem document, or did not answer. `status` is the HTTP status, or 0
    without an answer.
    """

    def __init__(
        self, type: str = "about:blank", title: str = "", detail: str = "", status: int = 500, **members: Any
    ) -> None:
        super().__init__(f"{title}: {detail}" if detail else title)
        self.type, self.title, self.detail, self.status = type, title, detail, status
        self.members = members
        """The other members of the problem document, such as `request_id` and `parameters`."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Keeps all attributes when the error is copied or pickled, as process pools do."""
        return partial(type(self), self.type, self.title, self.detail, self.status, **self.members), ()


class Unreachable(UpscaleError):
    """There was no answer, or no connection could be attempted."""


class BadRequest(UpscaleError):
    """400 and 422: the picture does not decode, or an option does not fit; `detail` says what to do."""


class NotAuthorized(UpscaleError):
    """401 and 403: the API key is missing, invalid, or not allowed to do this."""


class NotFound(UpscaleError):
    """404: the result or the job never existed, has expired, or belongs to another client."""


class TooLarge(UpscaleError):
    """413: too many bytes or pixels."""


class UnsupportedFormat(UpscaleError):
    """415: the file is not in an accepted format."""


class Busy(UpscaleError):
    """429 and 503, still after all retries."""


class TookTooLong(UpscaleError):
    """504: not done within the service's deadline."""


class ServerError(UpscaleError):
    """Any other 5xx."""


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
