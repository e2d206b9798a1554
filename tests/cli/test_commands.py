"""The commands that hand over to something else, and what the program as a whole promises."""

import functools
import json
import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from types import ModuleType

import pytest

from app.build import ModelSource, package_version
from app.codec import native
from app.codec.decoder_pool import DecoderPool
from bench.redis_server import RedisServer
from model.backends.registry import BACKENDS
from tests.cli.conftest import Lapsrn
from tests.fakes import FakeModel, worker


@pytest.mark.parametrize("command", ["train", "evaluate"])
@pytest.mark.parametrize("arguments", [[], ["--help"], ["--data", "a", "b", "--rate=3", "-x"]])
def test_train_and_evaluate_get_their_arguments_unchanged(
    lapsrn: Lapsrn, monkeypatch: pytest.MonkeyPatch, command: str, arguments: list[str]
) -> None:
    calls: list[Sequence[str]] = []
    module = ModuleType(f"model.{command}")
    module.main = calls.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, f"model.{command}", module)
    monkeypatch.setattr(f"model.{command}", module, raising=False)
    assert lapsrn(command, *arguments).exit_code == 0
    assert calls == [arguments]


@pytest.mark.parametrize(
    ("arguments", "environment", "host", "port"),
    [
        ([], {}, None, None),
        (["--port", "8080"], {"LAPSRN_PORT": "9"}, None, "8080"),
        (["--host", "::1"], {"LAPSRN_PORT": "9"}, "::1", "9"),
    ],
)
def test_options_of_serve_override_the_environment(
    lapsrn: Lapsrn,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    environment: dict[str, str],
    host: str | None,
    port: str | None,
) -> None:
    for name in ("LAPSRN_HOST", "LAPSRN_PORT"):
        monkeypatch.setenv(name, "")  # so that what the command sets is taken back after the test
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    seen: list[tuple[str | None, str | None]] = []

    def fake() -> int:
        seen.append((os.environ.get("LAPSRN_HOST"), os.environ.get("LAPSRN_PORT")))
        return 7

    monkeypatch.setattr("app.main.main", fake)
    monkeypatch.setattr("app.process.early_signals.listen", lambda: None)  # those of the tests stay as they are
    assert lapsrn("serve", *arguments).exit_code == 7
    assert seen == [(host, port)]


def test_doctor_prints_json_for_programs(lapsrn: Lapsrn) -> None:
    result = lapsrn("doctor", "--json")
    assert result.exit_code == 0
    facts = json.loads(result.stdout)
    assert facts["problem"] is None
    (network,) = facts["networks"]
    assert network["name"] == "fake_x4"
    assert network["levels"] == [2, 4]
    assert network["sha256"] == "0123"
    assert network["scores"] == {"Set5": {"4": {"psnr": 31.5}}}
    assert [each["name"] for each in facts["backends"]] == [each.name for each in BACKENDS]
    assert facts["backends"][-1]["why not"] is None
    engine = facts["engine"]
    assert (engine["device"], engine["dtype"], engine["workers"]) == ("cpu", "float32", 1)
    assert engine["ms for 256x256 at x4"] > 0
    assert facts["limits of the service"]["bytes in"] == 32 * 1024 * 1024
    assert facts["machine"]["cores"] >= 1
    assert facts["machine"]["codec"] == native.kind()
    assert facts["decoders"]["isolated"].startswith("no: LAPSRN_DECODE=inline")


@pytest.mark.slow
def test_doctor_reports_how_pictures_are_decoded(lapsrn: Lapsrn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAPSRN_DECODE", "process")
    decoders = json.loads(lapsrn("doctor", "--json").stdout)["decoders"]
    assert decoders["processes"] >= 2
    assert decoders["isolated"] == "yes" or "filter of system calls" in decoders["isolated"]


def test_doctor_reports_decoders_that_do_not_start(lapsrn: Lapsrn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAPSRN_DECODE", "process")
    monkeypatch.setattr("app.build.DecoderPool", functools.partial(DecoderPool, program="raise SystemExit('no way')"))
    result = lapsrn("doctor", "--json")
    assert result.exit_code == 1
    facts = json.loads(result.stdout)
    assert facts["problem"] == "decoder processes do not start: no way"
    assert facts["decoders"] == {"processes": 0, "isolated": "not known"}


@pytest.mark.server
def test_doctor_reports_why_results_cannot_be_kept(
    lapsrn: Lapsrn, monkeypatch: pytest.MonkeyPatch, redis_server: RedisServer
) -> None:
    """Otherwise it would not mention Redis, whatever is wrong with it."""

    def told(url: str) -> dict[str, str]:
        monkeypatch.setenv("LAPSRN_REDIS_URL", url)
        result = lapsrn("doctor", "--json")
        assert result.exit_code == 0  # pictures are made all the same
        results: dict[str, str] = json.loads(result.stdout)["results"]
        return results

    assert told("") == {"kept": "in memory"}
    assert told(redis_server.url) == {"kept": "in Redis", "state": "ok"}
    assert told("redis://127.0.0.1:1/0")["state"].startswith("unavailable: Error 111 connecting to 127.0.0.1:1")
    refused = told(redis_server.url.replace("//", "//somebody:else@"))["state"]
    assert refused.startswith("unavailable: the password in LAPSRN_REDIS_URL, or its user, is wrong or missing: ")


def test_doctor_prints_text_for_people(lapsrn: Lapsrn) -> None:
    result = lapsrn("doctor")
    assert result.exit_code == 0
    words = " ".join(result.stdout.split())
    assert "Set5 ×4 31.50 dB" in words
    assert "torch yes: PyTorch" in words
    assert "levels 2, 4" in words
    assert "bytes in 33,554,432" in words
    assert "isolated no: LAPSRN_DECODE=inline" in words
    assert "kept in memory" in words


def test_doctor_reports_a_failed_start(lapsrn: Lapsrn, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.errors import StartupError

    def fail(*_: object) -> None:
        raise StartupError("weights/x.safetensors is [not] there")

    monkeypatch.setattr("app.build.open_model", fail)
    result = lapsrn("doctor")
    assert result.exit_code == 1
    assert "cannot upscale here: weights/x.safetensors is [not] there" in result.stdout
    facts = json.loads(lapsrn("doctor", "--json").stdout)
    assert facts["problem"] == "weights/x.safetensors is [not] there"


def test_doctor_reports_a_failing_network(lapsrn: Lapsrn, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = ModelSource([worker(lambda: FakeModel(error=RuntimeError("no device")))])
    monkeypatch.setattr("app.build.open_model", lambda *_: broken)
    result = lapsrn("doctor", "--json")
    assert result.exit_code == 1
    facts = json.loads(result.stdout)
    assert "workers went down" in facts["problem"]
    assert facts["machine"]["cores"] >= 1


def test_version_prints_the_version(lapsrn: Lapsrn) -> None:
    result = lapsrn("--version")
    assert (result.exit_code, result.stdout) == (0, f"lapsrn {package_version()}\n")


@pytest.mark.parametrize("command", [[], ["upscale"], ["compare"], ["serve"], ["doctor"]])
def test_help_has_a_short_option(lapsrn: Lapsrn, command: list[str]) -> None:
    result = lapsrn(*command, "-h")
    assert result.exit_code == 0
    assert result.stdout == lapsrn(*command, "--help").stdout
    assert "Usage:" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["upscale", "a.png", "-o", ""],
        ["compare", "", "-o", "sheet.png"],
        ["compare", "a.png", "-o", "sheet.png", "--hr="],
        ["serve", "--host", ""],
        ["train", "--data", ""],
        ["evaluate", "--weights=", "--hr", "x"],
        ["doctor", "--weights", ""],
    ],
)
def test_empty_arguments_are_usage_errors(lapsrn: Lapsrn, arguments: list[str]) -> None:
    result = lapsrn(*arguments)
    assert result.exit_code == 2
    assert "check that the variable is set" in " ".join(result.stderr.replace("│", " ").split())


def test_a_name_after_two_dashes_may_look_like_an_option(lapsrn: Lapsrn) -> None:
    result = lapsrn("upscale", "-o", "out", "--", "--x=")
    assert (result.exit_code, result.stderr) == (1, "failed  --x=: there is no such file\n")


@pytest.mark.parametrize("command", ["upscale", "compare", "serve"])
def test_help_has_examples(lapsrn: Lapsrn, command: str) -> None:
    result = lapsrn(command, "--help")
    assert result.exit_code == 0
    assert f"lapsrn {command} " in result.stdout.split("Usage:")[1].split("\n", 1)[1]


@pytest.mark.parametrize("width", [80, 200])
def test_help_is_wrapped_to_the_terminal_width(lapsrn: Lapsrn, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for command in ("upscale", "upscale-large", "watch"):
        lines = [line.strip() for line in lapsrn(command, "--help").stdout.partition("╭")[0].splitlines()]
        for line, after in pairwise(lines):
            assert not (line and after) or len(f" {line} {after.split()[0]} ") > width, line
