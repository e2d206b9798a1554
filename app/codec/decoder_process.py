"""What runs in a decoder process; app.codec.decoder_pool alone starts one."""

import io
import os
import signal
import sys
import warnings
from collections.abc import Sequence

import numpy as np

from app.codec import confinement, decoder_protocol, reader
from app.codec.color_management import srgb_profile, to_srgb
from app.codec.formats import READERS
from app.codec.types import DecodeLimits
from app.errors import ClientError
from app.options import UpscaleOptions

_START_SECONDS = 90
"""More than its service waits for it to be warm."""


def main(memory_bytes: int, seconds: int) -> None:
    """Answers questions from standard input on standard output until the input ends.

    It may allocate `memory_bytes` once it is warm, and ends itself if one question takes `seconds`.
    """
    signal.alarm(_START_SECONDS)  # a library that gets no thread may hang; the service, which would kill it, may die
    source, target = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints must not end up in an answer
    warnings.simplefilter("ignore")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the end of the input is the sign to end
    confinement.die_first()
    _warm_up()
    confinement.limit_memory(memory_bytes)
    gap = confinement.limit_calls()
    _warm_up()  # if decoding needs a call that is refused, the process must fail now and not at a picture
    signal.alarm(0)
    _send(target, decoder_protocol.hello(gap))
    while len(prefix := source.read(decoder_protocol.PREFIX_SIZE)) == decoder_protocol.PREFIX_SIZE:
        size, options, limits = decoder_protocol.parsed_request(source.read(decoder_protocol.header_size(prefix)))
        data = source.read(size)
        signal.alarm(seconds)  # for a decoder that hangs after its service, which would have killed it, has died
        reply = _answer(data, options, limits)
        signal.alarm(0)
        _send(target, reply)


def _send(target: io.BufferedWriter, message: Sequence[decoder_protocol.Part]) -> None:
    for part in message:
        target.write(part)
    target.flush()


def _answer(data: bytes, options: UpscaleOptions, limits: DecodeLimits) -> Sequence[decoder_protocol.Part]:
    try:
        return decoder_protocol.answer(reader.read(data, options, limits))
    except ClientError as error:
        return decoder_protocol.refusal(error)


def _warm_up() -> None:
    """Decodes once with each library: what they load later would count against the limits, or could not be opened."""
    options, limits = UpscaleOptions(scale=2, color="srgb", metadata="all"), DecodeLimits()
    for dtype in (np.uint8, np.uint16):
        to_srgb(np.zeros((1, 1, 3), dtype), srgb_profile())
    for format_reader in READERS.values():
        for data in format_reader.examples():
            reader.read(data, options, limits)
