"""What torch computes on, by name."""

import torch

from model.backends.torch_network import torch_dtype


def test_dtype_names() -> None:
    names = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    assert {name: torch_dtype(name) for name in names} == names
