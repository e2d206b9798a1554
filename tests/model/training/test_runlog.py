"""The log of a run: what an error while writing it says."""

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.training.runlog import RunLog


def test_a_full_disk_under_tensorboard_is_reported_with_the_folder(tmp_path: Path) -> None:
    record: dict[str, Any] = {"step": 1, "loss": 0.1, "rate": 1e-3, "pixels_per_second": 1.0, "psnr": {"2": 30.0}}

    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with RunLog(tmp_path) as log, pytest.MonkeyPatch.context() as patch:
        patch.setattr(log._writer, "flush", full)
        with pytest.raises(OSError, match="No space left on device") as error:
            log.write(record)
        assert error.value.filename == str(tmp_path)
        with pytest.raises(OSError, match="No space left on device") as error:
            log.show(1, {"a": np.zeros((2, 6), np.uint8)})
        assert error.value.filename == str(tmp_path)
