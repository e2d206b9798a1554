"""The folded network through torch's convolutions, on a CPU or an accelerator: tiles in host memory in and out."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.backends.fused import pack
from model.config import LapSRNConfig
from model.devices import exact_float32
from model.folded import Conv, EagerConv, FoldedLapSRN, centred, one_period
from model.network import LapSRN
from model.weights import Parameters

Tiles = NDArray[np.float32]
Features = Callable[[Tensor, int | None], list[Tensor]]  # (padded, levels or all) to the residual of each level
FLAT_CORE = 33


class TorchNetwork:
    """Residuals by `features`, the image branch by `exact` in float32, both on `device`; on CUDA, in `stream`.

    The image branch is float32 for every tile, as torch's own choice of a kernel would depend on how many tiles there
    are, and so its rounding.
    """

    def __init__(
        self, exact: FoldedLapSRN, features: Features, device: str, stream: torch.cuda.Stream | None = None
    ) -> None:
        self._exact = exact
        self._features = features
        self.device = device
        self._stream = stream
        with torch.inference_mode():
            # An odd core keeps the pattern's first pixel in the middle.
            side = FLAT_CORE + 2 * exact.margin
            self._flats = one_period(features(torch.zeros(1, 1, side, side, device=device), None))

    def __call__(self, tiles: Tiles, levels: int) -> list[Tiles]:
        """Luma with its margin (N, H + 2m, W + 2m), 0..1, to [(N, 2H, 2W), (N, 4H, 4W), ...], as many as `levels`.

        Raises MemoryError when the device has no room for the batch.
        """
        try:
            with torch.inference_mode(), torch.cuda.stream(self._stream):  # None, as on a CPU: does nothing
                outputs = self.compute(self._on_device(torch.from_numpy(tiles)[:, None]), levels)
                return self._on_host([level[:, 0] for level in outputs])
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise MemoryError(str(error)) from error
        except RuntimeError as error:
            if "alloc" in str(error):  # the CPU allocator has no exception of its own
                raise MemoryError(str(error)) from error
            raise

    def compute(self, padded: Tensor, levels: int) -> list[Tensor]:
        """The same on the device: (N, 1, H + 2m, W + 2m) to [(N, 1, 2H, 2W), ...]."""
        return self._exact.combine(padded, self._features(padded, levels), self._flats)

    def _on_device(self, padded: Tensor) -> Tensor:
        """Copied by way of pinned memory, which torch keeps for the next batch, in the order of the stream."""
        if self._stream is None:
            return padded
        return padded.pin_memory().to(self.device, non_blocking=True)

    def _on_host(self, levels: list[Tensor]) -> list[Tiles]:
        """Every level, once all of the stream's work is done."""
        if self._stream is None:
            return [level.numpy() for level in levels]
        copies = [torch.empty(level.shape, pin_memory=True).copy_(level, non_blocking=True) for level in levels]
        self._stream.synchronize()
        return [copy.numpy() for copy in copies]


def build(parameters: Parameters, config: LapSRNConfig, device: str, dtype: str) -> TorchNetwork:
    """The network on a device with features in a dtype, on CUDA in a stream of its own: two workers of one device can
    then copy and compute at the same time."""
    network = LapSRN(config)
    network.load_state_dict({name: torch.from_numpy(values) for name, values in parameters.items()})
    with torch.no_grad():
        folded = centred(network.fold())  # on the CPU, where it is the same each time: workers must not differ
    stream = torch.cuda.Stream(device) if device.startswith("cuda") else None  # type: ignore[no-untyped-call]
    features = features_of(prepare(folded, device, dtype), dtype)
    built = TorchNetwork(prepare(folded, device, "float32"), features, device, stream)
    if stream is not None:
        torch.cuda.synchronize(device)  # what was made on the default stream is there before another one reads it
    return built


def prepare_thread(threads: int) -> None:
    """Sets torch's CPU threads for what this thread computes, and exact float32 products."""
    torch.set_num_threads(threads)
    exact_float32()


def features_of(network: FoldedLapSRN, dtype: str) -> Features:
    """The network's residuals, computed in this dtype."""
    kind = torch_dtype(dtype)
    return lambda padded, levels: network.residuals(padded, kind, levels)


def prepare(network: FoldedLapSRN, device: str, dtype: str) -> FoldedLapSRN:
    """The folded network with weights in the dtype and layout that the device multiplies fastest."""
    kind = torch_dtype(dtype)

    def cast(conv: Conv, to: torch.dtype) -> Conv:
        assert isinstance(conv, EagerConv)
        weight = conv.weight.detach().to(device, to, memory_format=torch.channels_last)
        bias = None if conv.bias is None else conv.bias.detach().to(device, to)
        return pack(weight, bias) if device == "cpu" else EagerConv(weight, bias)

    return network.map(lambda conv: cast(conv, kind), lambda conv: cast(conv, torch.float32))


def torch_dtype(name: str) -> torch.dtype:
    """The dtype of a name that settings use."""
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]
