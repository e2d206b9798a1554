"""Streams that are closed when the process begins."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import os, sys
from app.process.standard_streams import open_closed
open_closed()
places = [os.readlink(f"/proc/self/fd/{number}") for number in (0, 1, 2)]
with open(sys.argv[1], "w") as file:
    print(*places, file.fileno() > 2, [os.get_inheritable(number) for number in (0, 1, 2)], sep="\\n", file=file)
"""


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="there is no /proc to look into")
@pytest.mark.parametrize("closed", [(), (0,), (1,), (2,), (0, 2), (0, 1, 2)], ids=str)
def test_closed_streams_are_opened_on_the_null_device_and_others_left_unchanged(
    tmp_path: Path, closed: tuple[int, ...]
) -> None:
    def close() -> None:
        for number in closed:
            os.close(number)

    given, said = tmp_path / "given", tmp_path / "said"
    with given.open("w+b") as stream:
        command = [sys.executable, "-c", PROGRAM, str(said)]
        subprocess.run(command, cwd=ROOT, stdin=stream, stdout=stream, stderr=stream, preexec_fn=close, check=True)
    *places, is_beyond, inheritable = said.read_text().splitlines()
    assert places == [os.devnull if number in closed else str(given) for number in (0, 1, 2)]
    assert (is_beyond, inheritable) == ("True", "[True, True, True]")
