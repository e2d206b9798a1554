"""--name: what results in a folder are called."""

from pathlib import Path
from typing import Any

import pytest

from app.cli.inputs import PlanError
from app.cli.names import template
from app.options import UpscaleOptions
from tests import pictures
from tests.cli.conftest import Lapsrn


@pytest.mark.parametrize(
    ("typed", "options", "level", "expected"),
    [
        (None, {}, None, "{stem}{suffix}"),
        ("{stem}_x{scale}{suffix}", {}, None, "{stem}_x4{suffix}"),
        ("{stem}_x{scale}{suffix}", {"scale": 1.5}, None, "{stem}_x1.5{suffix}"),
        ("{scale}-{stem}{suffix}", {}, 2, "2-{stem}{suffix}"),
        ("{stem}.{model}{suffix}", {"model": "four"}, None, "{stem}.four{suffix}"),
    ],
)
def test_results_are_named_by_the_template(
    typed: str | None, options: dict[str, Any], level: int | None, expected: str
) -> None:
    assert template(typed, UpscaleOptions(**options), level) == expected


@pytest.mark.parametrize(
    ("typed", "options", "words"),
    [
        ("{stem", {}, "is not a template"),
        ("{stem}{0}{suffix}", {}, "there are {stem}, {suffix}, {scale}, {model}"),
        ("{stem} {{big}}{suffix}", {}, "braces cannot be part"),
        ("{stem.__class__}{suffix}", {}, "there are {stem}"),
        ("{stem!r}{suffix}", {}, "without formats"),
        ("{stem:>9}{suffix}", {}, "without formats"),
        ("{stem}.png", {}, "has to hold {stem} and to end in {suffix}"),
        ("big{suffix}", {}, "has to hold {stem}"),
        ("x/{stem}{suffix}", {}, "files, not folders"),
        (".{stem}{suffix}", {}, "none that are hidden"),
        ("{stem}_{scale}{suffix}", {"width": 9}, "does not go with --width"),
        ("{stem}_{model}{suffix}", {}, "needs --model"),
        *(
            ("{stem}_{model}{suffix}", {"model": name}, "not its file")
            for name in ("weights/a.safetensors", "a{b}", "a{")
        ),
    ],
)
def test_an_invalid_template_is_refused(typed: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(PlanError) as caught:
        template(typed, UpscaleOptions(**options), None)
    assert words in str(caught.value)


def test_results_are_written_under_their_template_names(lapsrn: Lapsrn) -> None:
    Path("album").mkdir()
    for name in ("a.png", "b.jpg", "b.webp"):
        Path("album", name).write_bytes(pictures.png(pictures.rgb(5, 7)))
    done = lapsrn("upscale", "album", "-o", "out/", "--name", "{stem}_x{scale}{suffix}", "--scale", "2")
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in Path("out/album").iterdir()) == ["a_x2.png", "b.jpg_x2.png", "b.webp_x2.png"]


@pytest.mark.parametrize("output", ["a_x4.png", "-"])
def test_a_template_is_refused_for_a_single_output_file(lapsrn: Lapsrn, output: str) -> None:
    Path("a.png").write_bytes(pictures.png(pictures.rgb(5, 7)))
    done = lapsrn("upscale", "a.png", "-o", output, "--name", "{stem}_big{suffix}")
    assert done.exit_code == 2
    assert not Path("a_x4.png").exists()
