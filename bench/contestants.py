"""How fast others upscale luma: each contestant in a process of its own, with every core, measured in turn."""

import asyncio
import importlib
import multiprocessing
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from app.build import cores, open_model
from app.engine import Engine
from app.settings import Settings
from bench.pictures import luma
from bench.public import PublicLapSRN
from model.checkpoint import load_weights
from model.devices import devices

Plane = NDArray[np.float32]
Run = Callable[[], Any]
Prepare = Callable[[Plane], Run]


class Absent(Exception):
    """A peer is not installed; the message says how to install it."""


def eager() -> Prepare:
    """Public PyTorch code: eager, contiguous, float32; on the accelerator if there is one, else on all threads."""
    device = devices("auto")[0]
    network = public_network().to(device)
    torch.set_num_threads(cores())

    def prepare(plane: Plane) -> Run:
        def run() -> list[Plane]:
            with torch.inference_mode():
                return [level[0, 0].cpu().numpy() for level in network(torch.from_numpy(plane)[None, None].to(device))]

        return run

    return prepare


def served(settings: Settings | None = None) -> Prepare:
    """The service's engine with its workers: padding, tiles, batches, the network, stitching."""
    source = open_model(settings or Settings(), None)
    config = source.engine
    loop = asyncio.new_event_loop()
    engine = Engine(source.factories, config)
    loop.run_until_complete(engine.start())
    return lambda plane: lambda: loop.run_until_complete(engine.upscale([plane], scale=4, client="bench"))


def deep(backend: str = "auto") -> Prepare:
    """The same with the deep companion of the shipped network."""
    return served(Settings(weights=Settings().weights.with_stem("lapsrn_x4_deep"), more_weights=(), backend=backend))


def openvino() -> Prepare:
    """OpenVINO on the same expanded network, in the precision that it chooses for the machine."""
    core = _peer("openvino").Core()
    model = core.read_model(exported())

    def prepare(plane: Plane) -> Run:
        model.reshape([1, 1, *plane.shape])
        compiled = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY"})
        return lambda: compiled([plane[None, None]])

    return prepare


def onnxruntime() -> Prepare:
    """ONNX Runtime on the same expanded network, float32."""
    peer = _peer("onnxruntime")
    options = peer.SessionOptions()
    options.intra_op_num_threads = cores()
    session = peer.InferenceSession(exported(), options, providers=["CPUExecutionProvider"])
    return lambda plane: lambda: session.run(None, {"luma": plane[None, None]})


CONTESTANTS: dict[str, Callable[[], Prepare]] = {
    "eager": eager,
    "served": served,
    "OpenVINO": openvino,
    "ONNX Runtime": onnxruntime,
}
DEEP: dict[str, Callable[[], Prepare]] = {
    "eager": eager,
    "served": served,
    "17 + 3 convolutions, served": deep,
    "17 + 3 convolutions, backend torch": partial(deep, "torch"),
}
"""What a deeper network costs beside the one that is served, and in C beside torch."""


def public_network() -> PublicLapSRN:
    """The weights that are served, in the public form."""
    network, _ = load_weights(Settings().weights)
    return PublicLapSRN(network).eval()


def exported() -> bytes:
    """The public network as ONNX, for pictures of any size. Raises Absent."""
    _peer("onnx")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "public.onnx"
        axes = {"luma": {2: "height", 3: "width"}}
        # The older exporter: it is quicker, and needs one package less.
        torch.onnx.export(
            public_network(),
            (torch.zeros(1, 1, 64, 64),),
            str(file),
            input_names=["luma"],
            dynamic_axes=axes,
            dynamo=False,
        )
        return file.read_bytes()


def _peer(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise Absent(f"{name} is not installed (pip install -e '.[bench]')") from None


class Contestant:
    """`with Contestant(name) as it: it.seconds(height, width)`. Raises Absent on entering."""

    def __init__(self, name: str) -> None:
        """Nothing runs yet; `name` is a key of CONTESTANTS or DEEP."""
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_compete, args=(name, other), daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        absent = self._pipe.recv()
        if absent is not None:
            self._process.join()
            raise Absent(absent)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.join()

    def seconds(self, height: int, width: int) -> tuple[float, float]:
        """How long one picture took, and how much CPU time; before a size's first, a warm-up that is not counted."""
        self._pipe.send((height, width))
        answer = self._pipe.recv()
        if isinstance(answer, str):
            raise RuntimeError(f"{self.name}: {answer}")
        wall, cpu = answer
        return float(wall), float(cpu)


WARM_PIXELS = 512 * 512
"""Larger pictures are not run once for nothing; they are run after smaller ones, and take long enough."""


def _compete(name: str, pipe: Connection) -> None:
    warnings.simplefilter("ignore")  # of exporters; they say nothing about speed
    try:
        prepare = (CONTESTANTS | DEEP)[name]()
    except Absent as absent:
        pipe.send(str(absent))
        return
    pipe.send(None)
    size, run = (0, 0), None
    while True:
        wanted = pipe.recv()
        try:
            if run is None or wanted != size:
                size, run = wanted, prepare(luma(*wanted))
                if size[0] * size[1] <= WARM_PIXELS:
                    run()
            began, cpu = time.perf_counter(), time.process_time()
            run()
            pipe.send((time.perf_counter() - began, time.process_time() - cpu))
        except Exception as error:  # the parent reports it; a peer that fails must not stop the others
            pipe.send(repr(error))
