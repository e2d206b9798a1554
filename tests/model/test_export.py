"""What the README and the model card say of the shipped weights is what the file says, and what they score."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from model.checkpoint import load_weights, save_weights
from model.evaluate import evaluate, pad, summary
from model.export import main
from model.model_card import front_matter, score_table, with_front_matter, with_tables
from model.network import LapSRNConfig
from model.weights import KINDS, NetworkInfo, Waypoint
from tests.model.networks import SHIPPED, random_network, save_pictures

ROOT = Path(__file__).parents[2]
WEIGHTS = sorted((ROOT / "weights").glob("*.safetensors"))
SCORED = [("Set5", path) for path in WEIGHTS] + [
    pytest.param("Set14", ROOT / "weights" / f"{name}.safetensors", marks=pytest.mark.slow)
    for name in ("lapsrn_x4", "lapsrn_x4_deep", "lapsrn_x8")
]
"""All on the smaller set, and one of each form on the larger one."""


@SHIPPED
def test_the_model_card_matches_the_metadata_of_the_weights(shipped: Path) -> None:
    text = (ROOT / "weights" / "README.md").read_text()
    for block in ("scores", "recipe"):
        assert f"<!-- {block} {shipped.stem}: begin -->" in text
    assert with_tables(text, shipped) == text, "renew with python -m model.export --cards"


def test_the_readme_matches_the_metadata_of_the_first_weights() -> None:
    text = (ROOT / "README.md").read_text()
    assert "<!-- scores lapsrn_x4: begin -->" in text
    assert with_tables(text, ROOT / "weights" / "lapsrn_x4.safetensors") == text, (
        "renew with python -m model.export --cards"
    )


def test_published_scores_are_only_shown_for_the_same_sets_at_x4() -> None:
    figures = {"psnr": 31.768, "ssim": 0.88941, "bicubic_psnr": 28.42, "bicubic_ssim": 0.8101}
    table = [row.strip("| ").split(" | ") for row in score_table({"Set5": {"2": figures, "4": figures}}).splitlines()]
    assert table[0][4:] == ["the paper's LapSRN", "best public PyTorch"]
    assert [row[:4] for row in table[2:]] == [
        ["Set5", scale, "28.42 / 0.8101", "**31.77** / 0.8894"] for scale in ("×2", "×4")
    ]
    assert table[2][4:] == [] and table[3][4:] == ["31.49", "31.59"]
    for others in ({"Urban100": {"4": figures}}, {"Set5": {"4": figures, "8": figures}}, {"Set5": {"2": figures}}):
        assert "PyTorch" not in score_table(others)


@pytest.mark.parametrize(("name", "shipped"), SCORED, ids=lambda value: getattr(value, "stem", value))
def test_weights_reach_the_scores_in_their_metadata(name: str, shipped: Path, bench_dir: Path) -> None:
    network, info = load_weights(shipped)
    low = bench_dir / name / f"LRx{network.config.scale}"
    measured = summary(evaluate(shipped, bench_dir / name / "HR", low if low.is_dir() else None))
    for scale, figures in info.scores[name].items():
        assert measured[scale]["psnr"] == pytest.approx(figures["psnr"], abs=0.005)
        assert measured[scale]["ssim"] == pytest.approx(figures["ssim"], abs=0.0005)
        assert measured[scale]["psnr"] > measured[scale]["bicubic_psnr"] + 1


def test_export_scores_the_weights_and_updates_model_cards(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "run").mkdir()
    save_weights(
        tmp_path / "run" / "weights.safetensors", random_network(LapSRNConfig(depth=1, width=4)), recipe={"a": 1}
    )
    hr = tmp_path / "Set5" / "HR"
    hr.mkdir(parents=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 80), np.uint8)).save(hr / "p.png")
    card = tmp_path / "card.md"
    card.write_text(
        "x\n<!-- scores w: begin -->\nold\n<!-- scores w: end -->\n<!-- recipe w: begin --><!-- recipe w: end -->\n"
        "<!-- scores v: begin -->\nof others\n<!-- scores v: end -->\ny\n"
    )
    out = tmp_path / "w.safetensors"
    arguments = ["--run", str(tmp_path / "run"), "--to", str(out), "--score", str(hr.parent), "--cards", str(card)]
    main([*arguments, "--jpeg", "60", "--purpose", "Clean up"])
    info = load_weights(out)[1]
    assert info.purpose == "Clean up"
    assert set(info.scores) == {"Set5", "Set5, JPEG 60"}
    assert set(info.scores["Set5"]) == {"2", "4"}
    assert info.scores["Set5, JPEG 60"]["4"]["bicubic_psnr"] != info.scores["Set5"]["4"]["bicubic_psnr"]
    text = card.read_text()
    assert f"**{info.scores['Set5']['4']['psnr']:.2f}**" in text
    assert "| `a` | 1 |" in text
    assert "old" not in text
    assert "of others" in text
    assert text.startswith("x\n") and text.endswith("y\n")


def test_the_model_card_has_hugging_face_s_front_matter() -> None:
    text = (ROOT / "weights" / "README.md").read_text()
    head, _, body = text.removeprefix("---\n").partition("\n---\n")
    found = yaml.safe_load(head)
    assert (found["license"], found["pipeline_tag"]) == ("mit", "image-to-image")
    shipped = sorted((ROOT / "weights").glob("*.safetensors"))
    assert [model["name"] for model in found["model-index"]] == [path.stem for path in shipped]
    for path, model in zip(shipped, found["model-index"], strict=True):
        scores = load_weights(path)[1].scores
        assert [result["dataset"]["name"] for result in model["results"]] == list(scores)
        for result, levels in zip(model["results"], scores.values(), strict=True):
            figures = list(levels.values())[-1]
            assert [metric["type"] for metric in result["metrics"]] == ["psnr", "ssim"]
            assert result["metrics"][0]["value"] == round(figures["psnr"], 2)
    assert body.lstrip().startswith("# Model card")
    assert with_front_matter(text, ROOT / "weights") == text, "renew with python -m model.export --cards"


@pytest.mark.parametrize(
    ("name", "identifier"),
    [("Mine: 2026", "mine-2026"), ('the "good" ones', "the-good-ones"), ("Straße, JPEG 75", "straße"), ("a\nb", "a-b")],
)
def test_front_matter_is_valid_whatever_a_set_is_called(name: str, identifier: str) -> None:
    figures = {"psnr": 30.0, "ssim": 0.9, "bicubic_psnr": 28.0, "bicubic_ssim": 0.8}
    text = front_matter([NetworkInfo("net: 2", LapSRNConfig(), "", scores={name: {"4": figures}})])
    (model,) = yaml.safe_load(text.removeprefix("---\n").removesuffix("---\n"))["model-index"]
    assert model["name"] == "net: 2"
    assert model["results"][0]["dataset"] == {"type": identifier, "name": name}


def test_exporting_weights_keeps_their_metadata(tmp_path: Path) -> None:
    about = {
        "recipe": {"a": 1},
        "data": "noise",
        "scores": {"Set5": {"4": {"psnr": 30.0, "ssim": 0.9, "bicubic_psnr": 28.0, "bicubic_ssim": 0.8}}},
        "pictures": {"count": 3},
        "purpose": "x",
    }
    strengths = {kind: [(10, 1.0), (90, 0.5)] for kind in KINDS}
    clean = {"base": "lapsrn_x4", "strengths": strengths}
    source, out = tmp_path / "best.safetensors", tmp_path / "out.safetensors"
    save_weights(source, random_network(LapSRNConfig(depth=1, width=4)), **about, clean=clean)
    main(["--weights", str(source), "--to", str(out)])
    info = load_weights(out)[1]
    assert {name: getattr(info, name) for name in about} == about
    assert (info.full_strength_of, info.strengths) == ("lapsrn_x4", strengths)


def test_deep_of_is_written_and_kept_by_further_exports(tmp_path: Path) -> None:
    source, deep, again = (tmp_path / f"{name}.safetensors" for name in ("source", "deep", "again"))
    save_weights(source, random_network(LapSRNConfig(depth=1, width=4)))
    main(["--weights", str(source), "--to", str(deep), "--deep-of", "lapsrn_x4"])
    main(["--weights", str(deep), "--to", str(again)])
    assert [load_weights(path)[1].deep_of for path in (source, deep, again)] == ["", "lapsrn_x4", "lapsrn_x4"]


@pytest.mark.parametrize("option", [["--deep-of", "net"], ["--waypoint", "net", "0.5", "compressed"]])
def test_weights_cannot_replace_the_network_that_they_belong_to(tmp_path: Path, option: list[str]) -> None:
    source, net, part = (tmp_path / f"{name}.safetensors" for name in ("source", "net", "part"))
    save_weights(source, random_network(LapSRNConfig(depth=1, width=4)))
    main(["--weights", str(source), "--to", str(part), *option])
    for arguments in (["--weights", str(source), *option], ["--weights", str(part)]):
        with pytest.raises(SystemExit, match="so it cannot be net; give another --to"):
            main([*arguments, "--to", str(net)])
    assert not net.exists()


def test_a_card_in_another_encoding_is_refused(tmp_path: Path) -> None:
    save_weights(tmp_path / "source", random_network(LapSRNConfig(depth=1, width=4)))
    (tmp_path / "card.md").write_bytes("café".encode("latin-1"))
    with pytest.raises(SystemExit, match=r"card\.md is not in UTF-8"):
        main(
            ["--weights", str(tmp_path / "source"), "--to", str(tmp_path / "to"), "--cards", str(tmp_path / "card.md")]
        )
    assert not (tmp_path / "to").exists()


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    """As root, --to /dev/null would replace it."""
    save_weights(tmp_path / "source", random_network(LapSRNConfig(depth=1, width=4)))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SystemExit, match=r"pipe: not a regular file"):
        main(["--weights", str(tmp_path / "source"), "--to", str(tmp_path / "pipe")])
    assert (tmp_path / "pipe").is_fifo()


def test_scores_on_the_working_folder_have_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_weights(tmp_path / "source", random_network(LapSRNConfig(depth=1, width=4)))
    save_pictures(tmp_path / "mine" / "HR", [(64, 64)])
    monkeypatch.chdir(tmp_path / "mine")
    main(["--weights", str(tmp_path / "source"), "--to", str(tmp_path / "to"), "--score", "."])
    assert list(load_weights(tmp_path / "to")[1].scores) == ["mine"]


def test_a_waypoint_is_written_and_kept_by_further_exports(tmp_path: Path) -> None:
    source, way, again = (tmp_path / f"{name}.safetensors" for name in ("source", "way", "again"))
    save_weights(source, random_network(LapSRNConfig(depth=1, width=4)))
    main(["--weights", str(source), "--to", str(way), "--waypoint", "lapsrn_x4", "0.5", "compressed"])
    main(["--weights", str(way), "--to", str(again)])
    assert load_weights(again)[1].waypoint == Waypoint("lapsrn_x4", 0.5, True)
    for strength in ("1.125", "0", "nan", "half"):
        with pytest.raises(SystemExit, match=f"is above 0 and at most 1, not {strength}"):
            main(["--weights", str(source), "--to", str(way), "--waypoint", "lapsrn_x4", strength, "compressed"])
    with pytest.raises(SystemExit, match="compressed or uncompressed, not jpeg"):
        main(["--weights", str(source), "--to", str(way), "--waypoint", "lapsrn_x4", "0.5", "jpeg"])


@pytest.mark.parametrize(
    "config",
    [
        LapSRNConfig(scale=4, depth=3, width=4),
        LapSRNConfig(scale=8, depth=2, width=3),
        LapSRNConfig(scale=4, depths=(7, 3), width=4, skips=True),
    ],
    ids=["x4", "x8", "with skips"],
)
@pytest.mark.parametrize("shape", [(1, 13, 20), (2, 31, 18)])
def test_an_onnx_model_accepts_any_size(config: LapSRNConfig, shape: tuple[int, int, int], tmp_path: Path) -> None:
    """One file, in onnxruntime, gives what the network gives on the padded picture; batches too."""
    runtime = pytest.importorskip("onnxruntime")
    network = random_network(config)
    save_weights(tmp_path / "w.safetensors", network, data="noise")
    main(["--weights", str(tmp_path / "w.safetensors"), "--onnx", str(tmp_path / "w.onnx")])
    session = runtime.InferenceSession(str(tmp_path / "w.onnx"), providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == [f"x{scale}" for scale in config.scales]
    pictures = np.random.default_rng(0).random(shape, np.float32)
    outputs = session.run(None, {"luma": pictures[:, None]})
    padded = np.stack([pad(picture, config.margin) for picture in pictures])
    with torch.no_grad():
        expected = network(torch.from_numpy(padded)[:, None])
    for output, wanted in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(output, wanted.numpy(), rtol=0, atol=1e-4 * float(wanted.abs().max()))
    flat = session.run(None, {"luma": np.full((1, 1, 20, 24), 0.3, np.float32)})
    assert all(np.abs(level - 0.3).max() < 1e-5 for level in flat)


def test_an_onnx_model_is_the_same_each_time(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    save_weights(tmp_path / "w.safetensors", random_network(LapSRNConfig(depth=1, width=2)))
    for name in ("a", "b"):
        main(["--weights", str(tmp_path / "w.safetensors"), "--onnx", str(tmp_path / name)])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_onnx_model_names_the_weights_exported_with_it(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    network = random_network(LapSRNConfig(depth=1, width=2))
    save_weights(tmp_path / "old.safetensors", network)
    new = tmp_path / "new.safetensors"
    main(
        [
            "--weights",
            str(tmp_path / "old.safetensors"),
            "--to",
            str(new),
            "--data",
            "noise",
            "--onnx",
            str(tmp_path / "m"),
        ]
    )
    model = onnx.load(str(tmp_path / "m"))
    properties = {each.key: each.value for each in model.metadata_props}
    assert model.graph.name == "new"
    assert properties == {
        "sha256": hashlib.sha256(new.read_bytes()).hexdigest(),
        "margin": str(network.config.margin),
        "data": "noise",
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ["--run", "r"],
        ["--run", "r", "--weights", "w", "--to", "t"],
        ["--run", "r", "--onnx", "o", "--cards", "c.md"],
        ["--run", "r", "--onnx", "o", "--score", "Set5"],
        ["--run", "r", "--onnx", "o", "--deep-of", "n"],
        ["--run", "r", "--to", "t", "--jpeg", "50"],
    ],
)
def test_incomplete_commands_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("python -m model.export: ")
