"""The one file of a multipart/form-data body, parsed as it arrives (RFC 2046, section 5.1)."""

import re
from collections.abc import Callable

from python_multipart.multipart import parse_options_header

from app.errors import MalformedRequest, TooManyBytes

FIELDS = ("image", "file")
_HOW = "Send one file in the field 'image' (curl -F image=@photo.png); parameters go into the query."
_MAX_BOUNDARY = 256
_MAX_LINE = 1024
"""Maximum bytes of a boundary line, and of a line before the first boundary."""
_MAX_PART_HEADERS = 8192
_HEADERS_END = re.compile(rb"(?:\A|\r?\n)(\r?\n)")
_LINE_END = re.compile(rb"\r?\n")
_FOLD = re.compile(rb"\r?\n[ \t]+")
"""A header that continues on the next line."""
_AFTER_BOUNDARY = rb"(?:(--)|[ \t]*\r?\n)"
_UNFINISHED = re.compile(rb"-|[ \t]*\r?")
"""An incomplete beginning of what _AFTER_BOUNDARY matches."""


class FormSink:
    """Keeps the bytes of the field `image` (or `file`), and refuses any other field.

    Supports what RFC 2046 allows and few clients send: text before the first boundary and after the last one, and
    blanks after a boundary. Also supports lines that end with LF alone, as detected from a part's headers.
    """

    def __init__(self, boundary: bytes, max_bytes: int) -> None:
        """`boundary` is that of the Content-Type; the file may have `max_bytes`. Raises MalformedRequest."""
        if len(boundary) > _MAX_BOUNDARY:
            raise MalformedRequest(f"The multipart boundary has more than {_MAX_BOUNDARY} bytes. {_HOW}")
        self._max_bytes = max_bytes
        self._dashes = b"--" + boundary
        self._first = re.compile(rb"(?:\A|\n)" + re.escape(self._dashes) + _AFTER_BOUNDARY)
        self._end = self._first  # the end of the part; set when its headers are parsed
        self._delimiter = b""
        self._buffer = bytearray()
        self._data: bytearray | None = None
        self._empty = True
        self._step: Callable[[FormSink], bool] = FormSink._preamble

    def feed(self, chunk: bytes) -> None:
        """Parses the next piece. Raises MalformedRequest or TooManyBytes."""
        self._empty = self._empty and not chunk
        self._buffer += chunk
        while self._step(self):
            pass

    def finish(self) -> bytes:
        """The file. Raises MalformedRequest if the form is incomplete, or has no file or an empty one."""
        if self._step is FormSink._preamble and not self._empty:
            raise self._no_boundary()
        if self._step is not FormSink._epilogue:
            raise MalformedRequest(f"The form ends before its last boundary. {_HOW}")
        if self._data is None:
            raise MalformedRequest(f"The form has no picture. {_HOW}")
        if not self._data:
            raise MalformedRequest("The picture in the form is empty (0 bytes). Send a file that is not.")
        return bytes(self._data)

    # The steps: each consumes what it can of the buffer, and returns whether the current step should run again.

    def _preamble(self) -> bool:
        found = self._first.search(self._buffer)
        if found is not None:
            self._begin_part(found.end(), last=found[1] is not None)
            return True
        del self._buffer[: max(0, self._buffer.rfind(b"\n"))]
        if len(self._buffer) > _MAX_LINE:
            raise self._no_boundary()
        return False

    def _part_headers(self) -> bool:
        found = _HEADERS_END.search(self._buffer)
        if (len(self._buffer) if found is None else found.start()) > _MAX_PART_HEADERS:
            raise MalformedRequest(f"The headers of a form field have more than {_MAX_PART_HEADERS} bytes. {_HOW}")
        if found is None:
            return False
        name = _field_name(bytes(self._buffer[: found.start()]))
        if name not in FIELDS:
            raise MalformedRequest(f"The form has an unknown field '{name[:60]}'. {_HOW}")
        if self._data is not None:
            raise MalformedRequest(f"The form has two pictures. {_HOW}")
        self._data = bytearray()
        self._delimiter = found[1] + self._dashes
        self._end = re.compile(re.escape(self._delimiter) + _AFTER_BOUNDARY)
        del self._buffer[: found.end()]
        self._step = FormSink._part_data
        return True

    def _part_data(self) -> bool:
        at = self._buffer.find(self._delimiter)  # many times faster than the pattern
        found = None if at < 0 else self._end.search(self._buffer, at)
        if found is None:
            self._keep(self._end_may_begin())
            return False
        self._keep(found.start())
        self._begin_part(found.end() - found.start(), last=found[1] is not None)
        return True

    def _epilogue(self) -> bool:
        self._buffer.clear()
        return False

    def _begin_part(self, start: int, last: bool) -> None:
        del self._buffer[:start]
        self._step = FormSink._epilogue if last else FormSink._part_headers

    def _end_may_begin(self) -> int:
        """The start of a possibly incomplete end of the part, at the end of the buffer; the buffer's length if none."""
        buffer, delimiter = self._buffer, self._delimiter
        at = buffer.rfind(delimiter)
        if at >= 0 and len(buffer) - at < _MAX_LINE and _UNFINISHED.fullmatch(buffer, at + len(delimiter)):
            return at
        start = max(0, len(buffer) - len(delimiter) + 1)
        return next((at for at in range(start, len(buffer)) if delimiter.startswith(bytes(buffer[at:]))), len(buffer))

    def _keep(self, count: int) -> None:
        """Moves `count` bytes from the buffer to the file."""
        assert self._data is not None
        with memoryview(self._buffer) as view:
            self._data += view[:count]
        del self._buffer[:count]
        if len(self._data) > self._max_bytes:
            raise too_large(self._max_bytes)

    def _no_boundary(self) -> MalformedRequest:
        return MalformedRequest(
            f"The form cannot be parsed: the boundary that its Content-Type names does not occur. {_HOW}"
        )


def too_large(max_bytes: int) -> TooManyBytes:
    """The error for a picture of more than `max_bytes`."""
    return TooManyBytes(f"The picture may have at most {max_bytes} bytes. Send a smaller one.")


def _field_name(headers: bytes) -> str:
    """The name in the Content-Disposition among a part's headers; "" if it has none."""
    for line in _LINE_END.split(_FOLD.sub(b" ", headers)):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-disposition":
            _, options = parse_options_header(value.strip())
            return options.get(b"name", b"").decode("utf-8", "replace")
    return ""
