"""Where the measures find this project's weights, and the test pictures, which lie beside the repository."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ROOT / "weights" / "lapsrn_x4.safetensors"
DATA = ROOT.parent / "shared" / "data" / "bench"
"""Set5 and Set14, each with HR and LRx4."""
CALIBRATION = ROOT.parent / "shared" / "data" / "calibrate"
"""Pictures that are neither trained on nor scored."""
