"""From settings to the networks that are served: which files, in which order, and what ends the start."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from app import assembly, build
from app.build import open_model, open_weights
from app.errors import StartupError
from app.metrics import Metrics
from app.settings import Settings
from model.checkpoint import save_weights
from model.network import LapSRNConfig
from tests.model.networks import random_network


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Weights of four small networks, one of them with a purpose, and a file of another kind."""
    purposes = {"b_x4": "", "a_cleaner": "Clean up", "c_x8": "", "d_x2": ""}
    for seed, (name, purpose) in enumerate(purposes.items()):
        scale = int(name[-1]) if name[-1].isdigit() else 4
        network = random_network(LapSRNConfig(scale=scale, depth=1, width=2), seed)
        save_weights(tmp_path / f"{name}.safetensors", network, purpose=purpose)
    (tmp_path / "README.md").write_text("not a network")
    return tmp_path


def names(settings: Settings) -> list[str]:
    return [each.info.name for each in open_weights(settings)]


def test_every_file_beside_the_shipped_weights_is_served(weights: Path) -> None:
    """The order decides which network makes x8: the first one that has the scale."""
    served = names(Settings())
    assert served[0] == weights.stem
    files = {file.stem for file in weights.parent.glob("*.safetensors")}
    ways = {"lapsrn_x4_shrunk", "lapsrn_x4_lanczos"}
    ways |= {"lapsrn_x4_deep_lanczos", "lapsrn_x4_deep_shrunk", "lapsrn_x4_deep_aliased", "lapsrn_x4_deep_noise"}
    assert files - set(served) == ways, "what is only on the way to full strength of clean-up"
    assert set(served) < files
    assert served.index("lapsrn_x8") < served.index("lapsrn_x4_jpeg")


def test_deep_companions_follow_the_other_networks() -> None:
    found = open_weights(Settings())
    assert [each.info.name for each in found] == [
        "lapsrn_x4",
        "lapsrn_x8",
        "lapsrn_x4_deep",
        "lapsrn_x4_deep_jpeg",
        "lapsrn_x4_jpeg",
    ]
    assert [each.info.deep_of for each in found] == ["", "", "lapsrn_x4", "", ""]


def test_companions_in_a_folder_never_become_the_first_network(tmp_path: Path) -> None:
    """Whatever their names."""
    for name, about in (("b", {}), ("c_x8", {}), ("a_deep", {"deep": {"of": "b"}}), ("b_x8", {"deep": {"of": "c_x8"}})):
        scale = 8 if name.endswith("x8") else 4
        network = random_network(LapSRNConfig(scale=scale, depth=1, width=2))
        save_weights(tmp_path / f"{name}.safetensors", network, **about)
    first = tmp_path / "b.safetensors"
    assert names(Settings(weights=first, more_weights=(tmp_path,))) == ["b", "c_x8", "a_deep", "b_x8"]


def test_the_purpose_of_a_network_comes_from_its_file(weights: Path) -> None:
    purposes = {each.info.name: each.info.purpose for each in open_weights(Settings())}
    assert [purposes[name] for name in ("lapsrn_x4", "lapsrn_x8", "lapsrn_x4_jpeg")] == ["", "", "Clean up JPEG traces"]


def test_a_folder_adds_its_files_and_those_with_a_purpose_come_last(folder: Path) -> None:
    first = folder / "d_x2.safetensors"
    assert names(Settings(weights=first, more_weights=(folder,))) == ["d_x2", "b_x4", "c_x8", "a_cleaner"]


def test_files_keep_their_given_order_and_folders_add_the_missing_ones(folder: Path) -> None:
    given = (folder / "a_cleaner.safetensors", folder)
    assert names(Settings(weights=folder / "c_x8.safetensors", more_weights=given)) == [
        "c_x8",
        "a_cleaner",
        "b_x4",
        "d_x2",
    ]


def test_two_files_of_the_same_name_fail_the_start(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other") / "b_x4.safetensors"
    save_weights(other, random_network(LapSRNConfig(depth=1, width=2)))
    with pytest.raises(StartupError, match=r"weights files must differ in name, .*: b_x4, b_x4"):
        open_model(Settings(weights=folder / "b_x4.safetensors", more_weights=(other,)), None)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"weights": Path("none.safetensors")}, "no weights at none.safetensors; set LAPSRN_WEIGHTS"),
        ({"more_weights": (Path("none"),)}, "no weights at none; set LAPSRN_MORE_WEIGHTS"),
        ({"backend": "fast"}, "LAPSRN_BACKEND: there is no backend 'fast'; use auto, or one of amx, winograd_avx512,"),
        ({"weights_sha256": "0" * 64}, f"not the {'0' * 64} of LAPSRN_WEIGHTS_SHA256; restore the file or correct"),
        ({"devices": "gpu"}, "LAPSRN_DEVICES or --device: unknown device 'gpu'; use auto, cpu, cuda or cuda:N"),
    ],
)
def test_networks_that_cannot_be_served_fail_the_start_in_one_line(
    folder: Path, settings: dict[str, object], says: str
) -> None:
    given: dict[str, object] = {"weights": folder / "b_x4.safetensors", "more_weights": ()} | settings
    with pytest.raises(StartupError, match=says) as stopped:
        open_model(Settings(**given), None)  # type: ignore[arg-type]
    assert "\n" not in str(stopped.value)


def test_a_bad_file_in_a_folder_fails_the_start(folder: Path) -> None:
    (folder / "state.safetensors").write_bytes(b"")
    with pytest.raises(StartupError, match=r"state\.safetensors is not a readable safetensors file"):
        open_model(Settings(weights=folder / "b_x4.safetensors", more_weights=(folder,)), None)


def test_a_folder_as_the_first_network_fails_the_start(folder: Path) -> None:
    with pytest.raises(StartupError, match="is a folder; name a weights file in it"):
        open_model(Settings(weights=folder), None)


@pytest.mark.parametrize(
    ("replicas", "gpus", "redis", "count"),
    [(1, 0, False, 1), (4, 0, True, 4), ("auto", 0, True, 1), ("auto", 1, True, 4), ("auto", 1, False, 1)],
)
def test_automatic_replicas_depend_on_cores_and_gpus(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, replicas: int | str, gpus: int, redis: bool, count: int
) -> None:
    """With twelve cores."""
    monkeypatch.setattr(build, "cores", lambda: 12)
    monkeypatch.setattr(assembly, "_GPUS", tmp_path)
    for index in range(gpus):
        (tmp_path / str(index)).mkdir()
    settings = Settings(replicas=replicas, redis_url="redis://localhost" if redis else None)  # type: ignore[arg-type]
    assert assembly.replica_count(settings) == count


def test_far_more_replicas_than_cores_are_refused_before_any_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "cores", lambda: 2)
    settings = Settings(replicas=8, redis_url="redis://localhost")  # type: ignore[arg-type]
    assert assembly.replica_count(settings) == 8
    with pytest.raises(StartupError, match=r"^LAPSRN_REPLICAS=9 is more than 4 for each available core; set at most 8"):
        assembly.replica_count(settings.model_copy(update={"replicas": 9}))


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter/2@host",
        "redis://:hunter#2@host",
        "redis://host:x",
        "redis://[::1",
        "redis://:hunter@host?hunter=1",
        "redis://:p@hunter/2@host",
        "redis://:p@hunter#2@host",
        "redis://:p@hunter?2@host",
        "redis://host/hunter",
        "rediss://host?ssl_cert_reqs=hunter",
        "unix://:p@hunter/2@/run/redis.sock",
        "unix://hunter/redis.sock",
        "unix:///run/redis.sock?socket_keepalive=1",
    ],
)
def test_an_invalid_redis_url_is_reported_without_its_password(url: str) -> None:
    """A password with a slash looks like the end of the port, which errors of the libraries show."""
    with pytest.raises(StartupError, match=r"^LAPSRN_REDIS_URL: [^\n]*%2F") as refused:
        assembly.build_store(Settings(redis_url=url), Metrics(CollectorRegistry()))  # type: ignore[arg-type]
    assert "hunter" not in str(refused.value)
    assert refused.value.__suppress_context__


def test_replicas_share_the_cores_equally(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "cores", lambda: 12)
    settings = Settings(replicas=3, redis_url="redis://localhost")  # type: ignore[arg-type]
    each = assembly.settings_of_replica(settings, 3)
    assert (each.replicas, each.cpu_workers, each.codec_threads, each.redis_url) == (3, 4, 2, settings.redis_url)
    set_by_hand = assembly.settings_of_replica(settings.model_copy(update={"cpu_workers": 9, "codec_threads": 5}), 3)
    assert (set_by_hand.cpu_workers, set_by_hand.codec_threads) == (9, 5)


def test_too_little_memory_for_the_replicas_is_blamed_on_their_number() -> None:
    """Not on LAPSRN_MEMORY_BYTES, which nobody has set."""
    settings = Settings(replicas=64, redis_url="redis://localhost", memory_bytes=8 << 30)  # type: ignore[arg-type]
    with pytest.raises(
        StartupError, match=r"each of LAPSRN_REPLICAS=64 in LAPSRN_MEMORY_BYTES is 128 MiB.*smaller LAPSRN_REP"
    ):
        assembly.within_memory(settings, build.ModelSource([]))
    _, division = assembly.within_memory(settings.model_copy(update={"replicas": 2}), build.ModelSource([]))
    assert division.available == 4 << 30
