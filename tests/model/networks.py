"""Small networks with weights that hide nothing, and pictures for them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from model.backends.registry import BACKENDS, by_name
from model.checkpoint import NetworkInfo, parameters_of
from model.folding import Folded, fold
from model.network import LapSRN, LapSRNConfig
from model.runtime import Runtime, Weights
from model.training.recipe import TrainConfig


def rows(*, dtypes: Sequence[str] = ("float32", "bfloat16"), device: str = "cpu") -> list[Any]:
    """(backend, dtype) of every row that runs on a kind of device; skipped with the reason if not available here.

    Where there is no AMX, tests with one of these run amx.c emulated (`_amx_or_its_emulation` in tests/conftest.py).
    """
    found = []
    for backend in BACKENDS:
        for dtype in dtypes:
            if dtype in backend.dtypes and device in backend.tilings:
                reason = None if backend.name == "amx" else backend.why_not(LapSRNConfig(), device, dtype)
                skip = pytest.mark.skipif(reason is not None, reason=f"{backend.name}: {reason}")
                found.append(pytest.param(backend.name, dtype, marks=skip, id=f"{backend.name} {dtype}"))
    return found


SERVED = pytest.mark.parametrize(("backend", "dtype"), rows())
EXACT = pytest.mark.parametrize(("backend", "dtype"), rows(dtypes=["float32"]))
SHARED = pytest.mark.parametrize(("backend", "dtype"), [row for row in rows() if by_name(str(row.values[0])).shared])
"""Those that all workers of a CPU share."""
TINY_CONFIG = TrainConfig(depth=1, core=16, batch=4, warmup=2, hold_out=3)
"""A recipe for a few steps on the pictures of the fixture `pictures`."""
SHIPPED = pytest.mark.parametrize(
    "shipped", sorted((Path(__file__).parents[2] / "weights").glob("*.safetensors")), ids=lambda path: path.stem
)
SKIPPING = LapSRNConfig(scale=4, depths=(7, 3), skips=True)
DEEP = LapSRNConfig(scale=4, depths=(13, 3), skips=True)
DEEPER = LapSRNConfig(scale=4, depths=(17, 3), skips=True)
DEEP_X8 = LapSRNConfig(scale=8, depths=(5, 3, 1), skips=True)
FORMS = [
    *(LapSRNConfig(scale=scale, depth=depth) for depth in (1, 5, 10) for scale in (2, 4, 8)),
    LapSRNConfig(scale=4, depths=(9, 2)),
    LapSRNConfig(scale=2, depths=(5,), skips=True),
    SKIPPING,
    DEEP_X8,
]
"""Networks of all the kinds that there are."""


def random_network(config: LapSRNConfig, seed: int = 0) -> LapSRN:
    """A network in which nothing is zero or symmetric: biases, kernels and image upsampling are all moved at random."""
    torch.manual_seed(seed)
    network = LapSRN(config).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            size = 0.1 if name.endswith("bias") or "image_up" in name else 0.3 * parameter.std().item()
            parameter.add_(torch.randn(parameter.shape), alpha=size)
    return network


def runtime_of(network: LapSRN, dtype: str = "float32", backend: str = "torch", device: str = "cpu") -> Runtime:
    """A network that is in no file, as a worker has it."""
    return Weights(parameters_of(network), NetworkInfo("random", network.config, "")).runtime(device, dtype, backend)


def form(config: LapSRNConfig) -> str:
    """What tells configurations apart, for names of tests."""
    depths = "+".join(map(str, config.depth_of_levels))
    return f"x{config.scale}-{depths}{'-skips' if config.skips else ''}-{config.width}"


def folded_of(network: LapSRN) -> Folded:
    """What kernels in C are given of it."""
    return fold(parameters_of(network), network.config)


def runtime_at(path: Path, dtype: str, backend: str = "auto") -> Runtime:
    """The network of a weights file on the CPU."""
    return Weights.open(path).runtime("cpu", dtype, backend)


def luma(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Noise in 0..1, always the same."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def plane(height: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    """Noise in 0..1 (height, width), float32."""
    return luma(height, width, seed=seed).numpy()


def texture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """An 8-bit gray picture (height, width) with edges and detail, and no symmetry."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((height, width))
    waves = 60 * np.sin(x / 3.1 + y / 7.3) + 40 * np.sign(np.sin(y / 5.7 - x / 11.9 + seed))
    return np.asarray(np.clip(128 + waves + rng.normal(0, 8, (height, width)), 0, 255), dtype=np.uint8)


def save_pictures(folder: Path, sizes: Sequence[tuple[int, int]]) -> list[NDArray[np.uint8]]:
    """Textures of these sizes as a.png, b.png, ... in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [texture(height, width, seed) for seed, (height, width) in enumerate(sizes)]
    for name, picture in zip("abcdefghij", pictures, strict=False):
        Image.fromarray(picture).save(folder / f"{name}.png")
    return pictures
