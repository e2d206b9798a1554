"""What can go wrong, as the domain sees it; app.api.problems alone knows which status each one becomes."""


class LapsrnError(Exception):
    """Base of every error the service raises on purpose. `str(error)` is fit to show: what was wrong, what to do."""


class ClientError(LapsrnError):
    """The request cannot be served as it is; sending it again unchanged will fail again."""


class MalformedRequest(ClientError):
    """The request has no picture, two pictures, or a body that is not what its headers say."""


class BadParameter(ClientError):
    """A parameter is outside its allowed values."""


class TooManyBytes(ClientError):
    """The body is larger than the byte limit."""


class TooManyPixels(ClientError):
    """The picture, or the picture that would come out, has more pixels than the limit; known before decoding."""


class UnsupportedFormat(ClientError):
    """The bytes are not a picture in an accepted format."""


class UndecodablePicture(ClientError):
    """The format is accepted, but the bytes do not decode: truncated, corrupt or inconsistent."""


class NotAcceptable(ClientError):
    """No format that the client accepts can be produced."""


class NotFound(ClientError):
    """Unknown, expired, or somebody else's: the three are not told apart."""


class Unauthorized(ClientError):
    """The API key is missing or wrong."""


class Forbidden(ClientError):
    """The API key is right, but not for this."""


class SlowClient(ClientError):
    """The body did not arrive in time."""


class TooManyRequests(ClientError):
    """This client has too much under way."""

    def __init__(self, message: str, retry_after: float) -> None:
        """`retry_after` is in seconds."""
        super().__init__(message)
        self.retry_after = retry_after


class ServerError(LapsrnError):
    """The service could not do its part; the same request may succeed later."""


class QueueFull(ServerError):
    """Admission refused: the tiles or bytes under way are at their limit."""

    def __init__(self, message: str, retry_after: float) -> None:
        """`retry_after` is in seconds, from the measured tile rate."""
        super().__init__(message)
        self.retry_after = retry_after


class Draining(ServerError):
    """The service is shutting down and takes no new work."""


class WarmingUp(ServerError):
    """The service has started, but its network is not loaded and warm yet."""


class StoreUnavailable(ServerError):
    """The results store does not answer."""


class DeadlineExceeded(ServerError):
    """The request's deadline passed before its last tile was done."""


class InferenceFailed(ServerError):
    """The network failed on a tile of this request, on its own, twice."""


class StartupError(LapsrnError):
    """The service cannot start; the message is one line that says why and what to do."""
