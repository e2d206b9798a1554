"""The fuzzer itself: its first files, what it takes for a finding, a real run, and the findings of old."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from app.codec import Codec, Decoded, png_chunks
from app.formats import INPUT_FORMATS
from tests.codec.support import picture, saved
from tests.fuzz import decode, target
from tests.fuzz.corpus import corpus

CORPUS = dict(corpus())
FINDINGS = {path.name: path.read_bytes() for path in sorted(decode.OLD_FINDINGS.glob("*")) if path.is_file()}
PNG = b"\0" + saved(picture(5, 4, 3), "PNG")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [*CORPUS, *FINDINGS])
def test_neither_the_corpus_nor_earlier_findings_are_findings(name: str) -> None:
    target.decoded((CORPUS | FINDINGS)[name])


def test_the_corpus_covers_every_format_and_option() -> None:
    answers = [target.decoded(data) for data in CORPUS.values()]
    assert {answer.format for answer in answers if isinstance(answer, Decoded)} == set(INPUT_FORMATS)
    assert len({target.OPTIONS[data[0] % len(target.OPTIONS)] for data in CORPUS.values()}) >= len(target.OPTIONS) // 2


def test_an_error_that_is_not_the_clients_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Codec, "decode", broken)
    with pytest.raises(ZeroDivisionError):
        target.decoded(PNG)


def test_a_broken_promise_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(target.decoded(PNG), Decoded)
    monkeypatch.setattr(target, "MAX_PIXELS", 19)
    with pytest.raises(AssertionError, match="more pixels"):
        target.decoded(PNG)


def test_checksums_are_corrected() -> None:
    depth = 1 + 8 + 8 + 8  # behind the choice of options, the signature, the chunk's head, width and height
    damaged = PNG[:depth] + b"\x10" + PNG[depth + 1 :]
    assert "checksum" in (png_chunks.fault(damaged[1:]) or "")
    mended = target.with_checksums(damaged)
    assert "checksum" not in (png_chunks.fault(mended[1:]) or "")
    assert png_chunks.header(mended[1:]).depth == 16
    assert target.with_checksums(PNG) == PNG
    assert target.with_checksums(b"\0BM") == b"\0BM"


BROKEN = """
import sys
from pathlib import Path
from app.codec import Codec
from tests.fuzz.decode import main

decode = Codec.decode

def broken(self, data, options):
    if data.startswith(b"GIF8"):
        raise ZeroDivisionError("broken on purpose")
    return decode(self, data, options)

Codec.decode = broken
main(20, Path(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris has no package for this machine")
def test_the_real_fuzzer_stops_at_a_finding_and_keeps_its_file(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", BROKEN, str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    assert "broken on purpose" in done.stdout + done.stderr
    (file,) = (tmp_path / "findings").iterdir()
    assert file.read_bytes()[1:5] == b"GIF8"


def test_without_atheris_fuzzing_is_skipped_with_a_message(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "atheris", None)
    decode.main(1, tmp_path)
    assert capsys.readouterr().out.startswith("fuzz: not run: atheris is not installed.")
