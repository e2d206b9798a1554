"""What torch computes on, by name."""

import numpy as np
import pytest
import torch

from model.backends.torch_network import TorchNetwork, torch_dtype
from model.config import LapSRNConfig
from tests.model.networks import random_network, runtime_of


def test_dtypes_are_found_by_name() -> None:
    names = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    assert {name: torch_dtype(name) for name in names} == names


@pytest.mark.parametrize(
    ("raised", "seen"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), MemoryError),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), MemoryError),
        (RuntimeError("expected scalar type Float but found BFloat16"), RuntimeError),
    ],
    ids=["accelerator", "cpu", "anything else"],
)
def test_every_out_of_memory_error_becomes_memory_error(
    raised: Exception, seen: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(network: TorchNetwork, padded: torch.Tensor, levels: int) -> list[torch.Tensor]:
        raise raised

    runtime = runtime_of(random_network(LapSRNConfig(depth=1, width=4)))
    monkeypatch.setattr(TorchNetwork, "compute", fails)
    with pytest.raises(seen, match=r"alloc|scalar"):
        runtime.run(np.zeros((1, 20, 20), np.float32), 4)
