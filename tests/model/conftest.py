"""What every test of the network has: one thread, so that none waits for another or for training; and pictures."""

from pathlib import Path

import pytest
import torch

from tests.model.networks import save_pictures

torch.set_num_threads(1)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of four pictures, of which a recipe with hold_out=3 keeps some for validation."""
    save_pictures(tmp_path / "pictures", [(96, 112), (80, 96), (64, 72), (88, 80)])
    return tmp_path / "pictures"
