"""CPU features, as reported by Linux or numpy."""

import platform
from pathlib import Path

import pytest
import torch

from model import cpu
from model.backends.winograd.winograd import TARGETS


@pytest.mark.parametrize(("machine", "runs"), [("x86_64", ["sse2"]), ("aarch64", ["neon"]), ("riscv64", [])])
@pytest.mark.parametrize("text", ["processor: 0\n", None], ids=["nothing told", "no file"])
def test_a_cpu_without_listed_features_has_those_of_its_architecture(
    machine: str, runs: list[str], text: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: Path) -> str:
        if text is None:
            raise FileNotFoundError(path)
        return text

    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(cpu, "_numpy_extensions", list)
    assert [name for name, needed in TARGETS.items() if needed <= cpu.features()] == runs


@pytest.mark.parametrize(
    ("machine", "level", "runs"),
    [
        ("AMD64", "X86_V4", ["avx512", "avx2", "sse2"]),
        ("x86_64", "X86_V3", ["avx2", "sse2"]),
        ("AMD64", "X86_V2", ["sse2"]),
        ("arm64", "ASIMD", ["neon"]),
    ],
)
@pytest.mark.parametrize("text", [None, "Other\t: neon", "translated"])
def test_without_proc_cpu_features_come_from_numpy(
    machine: str, level: str, runs: list[str], text: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Machines as Windows and macOS call them, levels as in numpy.show_config().

    Linux lists the other kind's features where one kind of CPU is translated into another's instructions.
    """
    others = "flags\t: avx2 avx512f" if machine == "arm64" else "Features\t: fp asimd"

    def read(path: Path) -> str:
        if text is None:
            raise FileNotFoundError(path)
        return others if text == "translated" else text

    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(cpu, "_numpy_extensions", lambda: [level])
    assert [name for name, needed in TARGETS.items() if needed <= cpu.features()] == runs


def test_numpy_reports_no_more_features_than_linux() -> None:
    if not Path("/proc/cpuinfo").exists():
        pytest.skip("no /proc/cpuinfo to compare with")
    levels = [cpu._LEVELS[name] for name in cpu._numpy_extensions() if name in cpu._LEVELS]
    assert all(level <= cpu.features() for level in levels)
    assert (cpu.features() >= cpu.V3) == (cpu.V3 in levels)


@pytest.mark.parametrize(("machine", "name"), [("x86_64", "flags\t"), ("aarch64", "Features")])
def test_cpu_features_are_read_from_the_first_cpu(machine: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(Path, "read_text", lambda path: f"processor: 0\n{name}\t: one\nprocessor: 1\n{name}: two\n")
    assert "one" in cpu.features()
    assert "two" not in cpu.features()


def test_amx_is_detected_like_torch() -> None:
    cpu.has_amx.cache_clear()
    torch_sees = torch.cpu._is_amx_tile_supported() and torch.cpu._init_amx() and torch.cpu._is_avx512_bf16_supported()
    assert cpu.has_amx() == bool(torch_sees)
