"""The list of backends: which one is chosen, the reasons against one, and the tile shapes of each."""

from pathlib import Path

import pytest

from app.build import engine_config
from app.engine import EngineConfig
from app.engine.batch import BatchLimit
from app.engine.tiles import Shape, cut_axes
from model.backends.amx import amx
from model.backends.backend import Backend
from model.backends.registry import BACKENDS, by_name, choose, survey
from model.backends.winograd import winograd
from model.network import LapSRNConfig
from tests.fakes import FakeInfo
from tests.model.networks import DEEP, DEEPER

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The targets of winograd.c, and "amx", that this machine runs: none until a test adds some."""
    here: list[str] = []
    monkeypatch.setattr(amx, "missing", lambda: None if "amx" in here else "no AMX")
    monkeypatch.setattr(winograd, "lacks", lambda config, target: None if target in here else f"no {target}")
    return here


@pytest.mark.parametrize(
    ("device", "dtype", "here", "backend"),
    [
        ("cpu", "float32", ["amx", "avx512", "avx2", "sse2"], "winograd_avx512"),
        ("cpu", "float32", ["avx2", "sse2"], "winograd_avx2"),
        ("cpu", "float32", ["sse2"], "winograd_sse2"),
        ("cpu", "float32", ["neon"], "winograd_neon"),
        ("cpu", "float32", [], "torch"),
        ("cpu", "bfloat16", ["amx", "avx512"], "amx"),
        ("cpu", "bfloat16", [], "torch"),
        ("cuda:0", "float32", ["amx", "avx512"], "torch"),
        ("cuda:0", "bfloat16", ["amx", "avx512"], "torch"),
    ],
)
def test_the_fastest_available_backend_is_chosen(
    device: str, dtype: str, here: list[str], backend: str, runs: list[str]
) -> None:
    runs += here
    assert choose(LapSRNConfig(), device, dtype) == (dtype, by_name(backend))


def test_a_target_can_be_forced_and_a_family_name_means_its_fastest(runs: list[str]) -> None:
    runs += ["avx512", "avx2", "sse2"]
    for name in ("winograd_avx512", "winograd_avx2", "winograd_sse2"):
        assert choose(LapSRNConfig(), "cpu", "auto", name) == ("float32", by_name(name))
    assert choose(LapSRNConfig(), "cpu", "auto", "winograd").backend.name == "winograd_avx512"
    runs.remove("avx512")
    assert choose(LapSRNConfig(), "cpu", "auto", "winograd").backend.name == "winograd_avx2"


def test_a_forced_backend_that_cannot_run_is_refused(runs: list[str]) -> None:
    runs.append("avx2")
    with pytest.raises(
        ValueError, match=r"the backend winograd_avx512 cannot .* on cpu here; use auto \(.*no avx512\)$"
    ):
        choose(LapSRNConfig(), "cpu", "float32", "winograd_avx512")
    with pytest.raises(
        ValueError, match=r"winograd_avx2 is for float32 on a CPU .*: it computes in float32, not in bf"
    ):
        choose(LapSRNConfig(), "cpu", "bfloat16", "winograd")


def test_an_unknown_backend_is_refused() -> None:
    for name in ("fast", "winograd_"):
        with pytest.raises(
            ValueError, match=f"there is no backend '{name}'; use auto, or one of amx, winograd_avx512,"
        ):
            choose(LapSRNConfig(), "cpu", "auto", name)


def test_without_a_dtype_a_backend_uses_one_that_it_supports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amx, "missing", lambda: None)
    for best in ("float32", "bfloat16"):
        monkeypatch.setattr("model.backends.registry.best_dtype", lambda device, best=best: best)
        assert choose(LapSRNConfig(), "cpu", "auto", "amx").dtype == "bfloat16"
        assert choose(LapSRNConfig(), "cpu", "auto", "torch").dtype == best


def test_the_survey_checks_each_backend_with_the_dtype_it_would_use(
    monkeypatch: pytest.MonkeyPatch, runs: list[str]
) -> None:
    runs.append("avx2")
    monkeypatch.setattr("model.backends.registry.best_dtype", lambda device: "bfloat16")
    reasons = {each.name: reason for each, reason in survey(LapSRNConfig(), "cpu")}
    assert reasons == {
        "amx": "no AMX",
        "winograd_avx512": "no avx512",
        "winograd_avx2": None,
        "winograd_sse2": "no sse2",
        "winograd_neon": "no neon",
        "torch": None,
    }
    reasons = {each.name: reason for each, reason in survey(LapSRNConfig(), "cpu", "float16")}
    assert reasons["winograd_avx2"] == "it computes in float32, not in float16"


def test_a_reason_names_the_device_the_dtype_or_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amx, "missing", lambda: "no AMX")
    row = by_name("amx")
    assert row.why_not(LapSRNConfig(), "cuda:1", "bfloat16") == "it runs on cpu, not on cuda:1"
    assert row.why_not(LapSRNConfig(), "cpu", "float32") == "it computes in bfloat16, not in float32"
    assert row.why_not(LapSRNConfig(), "cpu", "bfloat16") == "no AMX"


def test_the_service_names_no_backend() -> None:
    """So a new backend needs a row in the list and a folder, and nothing else."""
    names = {each.name.partition("_")[0] for each in BACKENDS if each.name != "torch"}
    sources = [path for path in (ROOT / "app").rglob("*.py") if any(name in path.read_text() for name in names)]
    assert sources == []


def test_the_last_backend_can_always_run() -> None:
    for dtype in ("float32", "bfloat16", "float16"):
        for device in ("cpu", "cuda:0"):
            assert BACKENDS[-1].why_not(LapSRNConfig(8, 40, 500, 1.0), device, dtype) is None


def test_an_accelerator_gets_larger_tiles_and_batches() -> None:
    cpu, gpu = (engine_config(by_name("torch").tiling(device)) for device in ("cpu", "cuda:0"))
    assert cpu == EngineConfig()
    assert gpu.tile_widths[-1] > cpu.tile_widths[-1]
    assert gpu.max_batch_pixels > cpu.max_batch_pixels


def test_on_amx_rows_of_features_are_multiples_of_sixteen() -> None:
    config = engine_config(by_name("amx").tiling("cpu"))
    heights, widths = config.tile_sizes(4)
    for width in widths:
        assert {-(-(width + border) // 16) for border in (14, 12, 10, 8, 6)} == {(width + 14) // 16}, "first level"
        assert -(2 * width + 8) % 16 == 4, "second level, whose layers are up to 6 narrower"
    assert all(height % 16 == 0 for height in heights)
    for workers in (1, 2, 8):
        _, columns = cut_axes(64, 64, config.cutting(FakeInfo(), 4, workers, idle=False))
        assert len(columns) == 1, "a thumbnail waits for one turn, not for two"
    assert BatchLimit(config)(Shape(heights[0], widths[0], 4)) == 1


@pytest.mark.parametrize("row", [row for row in BACKENDS if row.name.startswith("winograd")], ids=lambda row: row.name)
def test_winograd_cores_are_whole_patches_and_a_thumbnail_is_split_for_two_workers(row: Backend) -> None:
    config = engine_config(row.tiling("cpu"))
    for scale in (2, 4, 8):
        for margin in (16, 40):
            assert all(size % 4 == 0 for sizes in config.tile_sizes(scale, margin) for size in sizes)
    for idle, tiles in ((True, 2), (False, 1)):
        rows, columns = cut_axes(64, 64, config.cutting(FakeInfo(wider=7), 4, workers=2, idle=idle))
        assert len(rows) * len(columns) == tiles
    assert BatchLimit(config)(Shape(16, 16, 4)) == 1


@pytest.mark.parametrize(("network", "highest"), [(LapSRNConfig(), 256), (DEEP, 384), (DEEPER, 384)])
def test_winograd_cores_of_deep_networks_are_taller(network: LapSRNConfig, highest: int) -> None:
    row = next((row for row in BACKENDS if row.name.startswith("winograd") and not row.lacks(network)), None)
    if row is None:
        pytest.skip("winograd.c is not compiled")
    config = engine_config(row.tiling("cpu"))
    assert config.tile_sizes(4, row.window_margin(network)).heights[-1] == highest
