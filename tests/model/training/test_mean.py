"""`python -m model.training.mean`: a weights file between two."""

from pathlib import Path

import numpy as np
import pytest

from model.checkpoint import save_weights
from model.config import LapSRNConfig
from model.mixing import mixed
from model.training.mean import main
from model.weights import read_weights
from tests.model.networks import random_network

CONFIG = LapSRNConfig(depth=1, width=2)


def test_the_mean_equals_the_weights_served_at_that_strength(tmp_path: Path) -> None:
    near, far, to = (tmp_path / f"{name}.safetensors" for name in ("near", "far", "to"))
    save_weights(near, random_network(CONFIG), recipe={"steps": 1}, data="near")
    save_weights(far, random_network(CONFIG, seed=1), recipe={"steps": 2}, data="far", pictures={"count": 3})
    main([str(near), str(far), "--strength", "0.25", "--to", str(to)])
    first = to.read_bytes()
    found, info = read_weights(to)
    assert info.config == CONFIG
    assert (info.recipe, info.data, info.pictures) == ({"steps": 2}, "far", {"count": 3})
    for name, values in mixed(read_weights(near)[0], read_weights(far)[0], 0.25).items():
        np.testing.assert_array_equal(found[name], values)
    main([str(near), str(far), "--strength", "0.25", "--to", str(to)])
    assert to.read_bytes() == first


def test_impossible_means_are_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    near, far = (tmp_path / f"{name}.safetensors" for name in ("near", "far"))
    save_weights(near, random_network(CONFIG))
    save_weights(far, random_network(LapSRNConfig(depth=2, width=2)))
    to = ["--to", str(tmp_path / "to.safetensors")]
    with pytest.raises(SystemExit, match="differ in form"):
        main([str(near), str(far), *to])
    for strength, line in (("1.5", "the strength is 1.5; give one from 0 to 1"), ("x", "invalid float value: 'x'")):
        with pytest.raises(SystemExit):
            main([str(near), str(near), "--strength", strength, *to])
        assert line in capsys.readouterr().err
    with pytest.raises(SystemExit, match="there is no folder"):
        main([str(near), str(near), "--to", str(tmp_path / "gone" / "to.safetensors")])
    with pytest.raises(SystemExit, match="no weights at"):
        main([str(tmp_path / "gone"), str(near), *to])
