"""The decoder process of app.codec.decoder_pool: `... MEMORY_BYTES SECONDS`, started by it alone."""

import os
import resource
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from app.codec import decoder_protocol, reader
from app.codec.color_management import srgb_profile, to_srgb
from app.codec.formats import READERS
from app.codec.types import DecodeLimits
from app.errors import ClientError
from app.options import UpscaleOptions


def main(memory_bytes: int, seconds: int) -> None:
    """Answers questions from standard input on what was standard output, until the input ends."""
    source, target = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not end up in an answer
    warnings.simplefilter("ignore")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the end of the input is the sign to end
    _warm_up()
    _confine(memory_bytes)
    target.write(b"r")
    target.flush()
    while len(prefix := source.read(decoder_protocol.PREFIX_SIZE)) == decoder_protocol.PREFIX_SIZE:
        header, blobs = decoder_protocol.sizes(prefix)
        question = source.read(header), source.read(blobs)
        signal.alarm(seconds)  # for a decoder that hangs when its service, which would kill it, is gone
        reply = _answer(*question)
        signal.alarm(0)
        for part in reply:
            target.write(part)
        target.flush()


def _answer(header: bytes, blobs: bytes) -> Sequence[decoder_protocol.Part]:
    try:
        return decoder_protocol.answer(reader.read(*decoder_protocol.parsed_request(header, blobs)))
    except ClientError as error:
        return decoder_protocol.refusal(error)


def _warm_up() -> None:
    """Decodes once with each library, since what they load later would count against the limits."""
    options, limits = UpscaleOptions(scale=2, color="srgb"), DecodeLimits()
    for dtype in (np.uint8, np.uint16):
        to_srgb(np.zeros((1, 1, 3), dtype), srgb_profile())
    for format_reader in READERS.values():
        for data in format_reader.examples():
            reader.read(data, options, limits)


def _confine(memory_bytes: int) -> None:
    """No more memory than is allowed on top of what is there, no files, no core dump."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
