"""Work on a GPU without the cost of launching its kernels one by one."""

from collections.abc import Callable

import torch
from torch import Tensor

WARM_UP = 3  # calls before the recording: kernels are chosen, and optimizers make their state


class GraphedStep:
    """A function of one tensor to another, on a CUDA device, replayed as one CUDA graph after a few plain calls.

    Whatever else it reads or writes must stay in place, and its argument must keep its shape. Each call takes an
    argument from the CPU, does not wait for the device, and does what the function does, the first as the last.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], device: str) -> None:
        self._function = function
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, argument: Tensor) -> Tensor:
        """The function's result, a copy of its own."""
        there = argument.pin_memory().to(self._device, non_blocking=True)
        self._calls += 1
        if self._calls <= WARM_UP:
            return self._plainly(there)
        if self._graph is None:
            self._input = there
            self._graph = torch.cuda.CUDAGraph()
            # Other threads, such as NCCL's watchdog, may call CUDA meanwhile.
            with torch.cuda.graph(self._graph, stream=self._stream, capture_error_mode="thread_local"):
                self._output = self._function(self._input)
        self._input.copy_(there)
        self._graph.replay()
        return self._output.clone()

    def _plainly(self, there: Tensor) -> Tensor:
        """A call on the stream that will record, as autograd wants it."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            result = self._function(there)
        current.wait_stream(self._stream)
        return result
