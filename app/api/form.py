"""The one file of a multipart/form-data body, parsed as it arrives."""

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.errors import MalformedRequest, TooManyBytes

FIELDS = ("image", "file")
_HOW = "Send one file in the field 'image' (curl -F image=@photo.png); parameters go into the query."


class FormSink:
    """Keeps the bytes of the field `image` (or `file`), and refuses any other field."""

    def __init__(self, boundary: bytes, max_bytes: int) -> None:
        """`boundary` as in the Content-Type; the file may have `max_bytes`. Raises MalformedRequest."""
        self._max_bytes = max_bytes
        self._data: bytearray | None = None
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._disposition = b""
        self._complete = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._part_begin,
                    "on_header_field": self._header_field,
                    "on_header_value": self._header_piece,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_finished,
                    "on_part_data": self._part_data,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise MalformedRequest(f"The multipart boundary cannot be used: {error}. {_HOW}") from None

    def feed(self, chunk: bytes) -> None:
        """Parses the next piece. Raises MalformedRequest or TooManyBytes."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise MalformedRequest(f"The form cannot be parsed: {error}") from None

    def finish(self) -> bytes:
        """The file. Raises MalformedRequest when the form ended early, or had no file or an empty one."""
        if not self._complete:
            raise MalformedRequest(f"The form ends before its last boundary. {_HOW}")
        if self._data is None:
            raise MalformedRequest(f"The form has no picture. {_HOW}")
        if not self._data:
            raise MalformedRequest(f"The picture in the form is empty. {_HOW}")
        return bytes(self._data)

    def _part_begin(self) -> None:
        self._disposition = b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _header_piece(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name not in FIELDS:
            raise MalformedRequest(f"The form's field '{name[:60]}' is not understood. {_HOW}")
        if self._data is not None:
            raise MalformedRequest(f"The form has two pictures. {_HOW}")
        self._data = bytearray()

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._data is None:
            raise MalformedRequest(f"The form has data outside a part. {_HOW}")
        self._data += data[start:end]
        if len(self._data) > self._max_bytes:
            raise TooManyBytes(f"The picture may have at most {self._max_bytes} bytes. Send a smaller one.")

    def _end(self) -> None:
        self._complete = True
