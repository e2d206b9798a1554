"""Checks that the PyTorch that was installed is the one that the image's variant (cpu or cuda) asked for."""

import sys

import torch


def complaint(variant: str, cuda: str | None) -> tuple[str, bool]:
    """What is wrong with a torch built for `cuda` (None: CPU only) in this variant, and whether that is fatal."""
    if variant not in ("cpu", "cuda"):
        return f"VARIANT={variant} is not one of: cpu, cuda", True
    if variant == "cuda" and cuda is None:
        return "VARIANT=cuda, but this PyTorch has no CUDA: leave TORCH_INDEX_URL empty or name a CUDA index", True
    if variant == "cpu" and cuda is not None:
        text = f"this PyTorch carries CUDA {cuda}, so the image is several GB; see docs/operations.md, 'The image'"
        return text, False
    return "", False


if __name__ == "__main__":
    text, fatal = complaint(sys.argv[1], torch.version.cuda)
    if text:
        print(f"{'error' if fatal else 'warning'}: {text}", file=sys.stderr)
    sys.exit(1 if fatal else 0)
