"""The errors of the domain; only app.api.problems maps them to HTTP status codes."""

from typing import ClassVar

PROBLEM_TYPE = "urn:lapsrn:problem:"
"""Followed by a slug, this is the `type` of a problem document and of errors in the command line's JSON."""
EXIT_STARTUP = 2
"""The exit code of a service that cannot start."""
INTERNAL_ERROR = "internal-error"
"""The slug of every exception that is not a LapsrnError."""


class LapsrnError(Exception):
    """Base of every error the service raises on purpose. `str(error)` is for users: what was wrong, what to do."""

    slug: ClassVar[str] = INTERNAL_ERROR
    """Stable name of the kind of error, for clients and for metrics."""


class ClientError(LapsrnError):
    """The request cannot be served as it is; sending it again unchanged will fail again."""


class MalformedRequest(ClientError):
    """The request has no picture, two pictures, or a body that contradicts its headers."""

    slug = "malformed-request"


class BadParameter(ClientError):
    """A parameter is outside its allowed values."""

    slug = "bad-parameter"


class TooManyBytes(ClientError):
    """The body is larger than the byte limit."""

    slug = "too-many-bytes"


class TooManyPixels(ClientError):
    """The picture, or its result, has more pixels than the limit; detected before decoding."""

    slug = "too-many-pixels"


class HeadersTooLarge(ClientError):
    """The URL and the headers together are larger than the limit, or there are too many headers or parameters."""

    slug = "headers-too-large"


class UnsupportedFormat(ClientError):
    """The bytes are not a picture in an accepted format."""

    slug = "unsupported-format"


class UnsupportedCoding(ClientError):
    """The body is compressed as a whole."""

    slug = "unsupported-coding"


class UndecodablePicture(ClientError):
    """The format is accepted, but the bytes do not decode: truncated, corrupt or inconsistent."""

    slug = "undecodable-picture"


class NotAcceptable(ClientError):
    """No format that the client accepts can be produced."""

    slug = "not-acceptable"


class NotFound(ClientError):
    """Unknown, expired, or another owner's: the three are not distinguished."""

    slug = "not-found"


class NotReady(ClientError):
    """The job that makes this picture is still under way."""

    slug = "not-ready"

    def __init__(self, message: str, job_id: str) -> None:
        """`job_id` is the job to wait for."""
        super().__init__(message)
        self.job_id = job_id


class PreconditionFailed(ClientError):
    """There is a picture, but not the one that If-Match names."""

    slug = "precondition-failed"


class RangeNotSatisfiable(ClientError):
    """The requested range begins after the end."""

    slug = "range-not-satisfiable"

    def __init__(self, message: str, size: int) -> None:
        """`size` is that of the whole file, in bytes."""
        super().__init__(message)
        self.size = size


class Unauthorized(ClientError):
    """The API key is missing or wrong."""

    slug = "unauthorized"


class CrossSite(ClientError):
    """A browser sent the request for a page of another site."""

    slug = "cross-site"


class UnknownHost(ClientError):
    """The request's Host is not a name of this service."""

    slug = "unknown-host"


class Forbidden(ClientError):
    """The API key is valid, but lacks the right."""

    slug = "forbidden"


class SlowClient(ClientError):
    """The body did not arrive in time."""

    slug = "slow-client"


class TooManyRequests(ClientError):
    """This client has too much under way."""

    slug = "too-many-requests"

    def __init__(self, message: str, retry_after: float) -> None:
        """`retry_after` is in seconds."""
        super().__init__(message)
        self.retry_after = retry_after


class ServerError(LapsrnError):
    """The service could not do its part; the same request may succeed later."""


class QueueFull(ServerError):
    """Admission refused: the tiles or bytes under way are at their limit."""

    slug = "queue-full"

    def __init__(self, message: str, retry_after: float) -> None:
        """`retry_after` is in seconds, from the measured rate of work."""
        super().__init__(message)
        self.retry_after = retry_after


class Draining(ServerError):
    """The service is shutting down and takes no new work."""

    slug = "draining"


class WarmingUp(ServerError):
    """The service has started, but its network is not loaded and warm yet."""

    slug = "warming-up"


class DecodersUnavailable(ServerError):
    """No decoder process can be started."""

    slug = "decoders-unavailable"

    def __init__(self, message: str, reason: str) -> None:
        """`reason` is for the log."""
        super().__init__(message)
        self.reason = reason


class StoreUnavailable(ServerError):
    """The results store does not answer, or has no memory left."""

    slug = "store-unavailable"

    def __init__(self, message: str, full: bool = False) -> None:
        """`full`: it answers, but has no memory left."""
        super().__init__(message)
        self.full = full


class JobLost(ServerError):
    """The process that ran a job is gone, and the job with it."""

    slug = "job-lost"


class DeadlineExceeded(ServerError):
    """The request's deadline passed before its last tile was done."""

    slug = "deadline-exceeded"


class InferenceFailed(ServerError):
    """The network failed on a tile of this request, on its own, twice."""

    slug = "inference-failed"


class StartupError(LapsrnError):
    """The service cannot start; the message is one line with the reason and what to do."""

    slug = "weights-refused"


class SettingsRefused(StartupError):
    """Settings that were read again while the service runs are invalid; the old ones are kept."""

    slug = "settings-refused"


def slug_of(error: BaseException) -> str:
    """The error's slug; INTERNAL_ERROR for anything that was not raised on purpose."""
    return error.slug if isinstance(error, LapsrnError) else INTERNAL_ERROR


def all_slugs(base: type[LapsrnError] = LapsrnError) -> set[str]:
    """The slugs of all kinds of errors, including INTERNAL_ERROR."""
    return {base.slug}.union(*(all_slugs(kind) for kind in base.__subclasses__()))
