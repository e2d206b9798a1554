"""The folded network as an ONNX model for luma of any size; the border is padded inside, as in serving."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from model.checkpoint import NetworkInfo
from model.config import NEIGHBOURS
from model.folded import Conv, EagerConv, FoldedLapSRN, centred, image_borders
from model.network import LapSRN

OPSET = 17
_BEFORE_FIRST = -(2**31)  # the end of a slice that runs backwards to the first sample


def to_onnx(network: LapSRN, info: NetworkInfo) -> onnx.ModelProto:
    """The network with one input and an output for each level, all float32 in 0..1, 1.0 is full scale.

    "luma" (N, 1, H, W), BT.601 studio range, sides longer than the margin; "x2" (N, 1, 2H, 2W), "x4", ...
    """
    with torch.no_grad():
        folded = centred(network.fold())
        flats = [flat.numpy() for flat in folded.flat_residuals(torch.zeros(()))]
    graph = _Graph()
    margin = folded.margin
    padded = graph.mirrored("luma", margin)
    residuals = _residuals(graph, folded, padded)
    outputs = _images(graph, folded, padded, residuals, flats)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            info.name,
            [_plane("luma", 1)],
            [_plane(name, scale) for name, scale in zip(outputs, network.config.scales, strict=True)],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
        producer_name="lapsrn",
    )
    helper.set_model_props(model, {"sha256": info.sha256, "margin": str(margin), "data": info.data})
    onnx.checker.check_model(model, full_check=True)
    return model


def _plane(name: str, scale: int) -> onnx.ValueInfoProto:
    sides = ["height", "width"] if scale == 1 else [f"{scale}*height", f"{scale}*width"]
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 1, *sides])


class _Graph:
    """Nodes and constants, named by their numbers."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, kind: str, inputs: Sequence[str], output: str | None = None, **attributes: Any) -> str:
        """Adds an operator; returns the name of its output."""
        name = output or f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, value: NDArray[np.float32] | Sequence[int]) -> str:
        """Adds a float32 array, or whole numbers as int64; returns its name."""
        array = np.ascontiguousarray(value if isinstance(value, np.ndarray) else np.array(value, np.int64))
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def conv(self, conv: Conv, source: str, slope: float | None = None) -> str:
        """Adds a valid convolution, followed by LeakyReLU if a slope is given."""
        assert isinstance(conv, EagerConv)
        tensors = [conv.weight] if conv.bias is None else [conv.weight, conv.bias]
        output = self.node("Conv", [source, *(self.constant(tensor.detach().numpy()) for tensor in tensors)])
        return output if slope is None else self.node("LeakyRelu", [output], alpha=slope)

    def mirrored(self, source: str, border: int) -> str:
        """`source` (N, C, H, W) with `border` pixels of its mirror image on each side; Pad has no such mode."""
        for axis in (2, 3):
            along = self.constant([axis]), self.constant([-1])
            before = self.node("Slice", [source, *map(self.constant, ([border - 1], [_BEFORE_FIRST])), *along])
            after = self.node("Slice", [source, *map(self.constant, ([-1], [-border - 1])), *along])
            source = self.node("Concat", [before, source, after], axis=axis)
        return source

    def cropped(self, source: str, border: int) -> str:
        """`source` (N, C, H, W) without `border` pixels on each side."""
        if not border:
            return source
        starts, ends, axes = ([border, border], [-border, -border], [2, 3])
        return self.node("Slice", [source, *map(self.constant, (starts, ends, axes))])


def _residuals(graph: _Graph, folded: FoldedLapSRN, padded: str) -> list[str]:
    """As FoldedLapSRN.residuals."""
    differences = np.zeros((len(NEIGHBOURS), 1, 3, 3), np.float32)
    for index, (row, column) in enumerate(NEIGHBOURS):
        differences[index, 0, row, column] = 1
        differences[index, 0, 1, 1] = -1
    around = graph.node("Conv", [padded, graph.constant(differences)])
    features = graph.conv(folded.entry, around, folded.slope)
    found = []
    for level in folded.levels:
        start = features
        for index, conv in enumerate(level.convs):
            if folded.skips and index % 2:
                start = graph.cropped(start, 2)
                features = graph.node("Add", [start, graph.conv(conv, features)])
            else:
                start, features = features, graph.conv(conv, features, folded.slope)
        found.append(graph.conv(level.residual, features))
        if level.following is not None:
            phases = graph.conv(level.following, features, folded.slope)
            features = graph.node("DepthToSpace", [phases], blocksize=2, mode="DCR")
    return found


def _images(
    graph: _Graph, folded: FoldedLapSRN, padded: str, residuals: Sequence[str], flats: Sequence[NDArray[np.float32]]
) -> list[str]:
    """As FoldedLapSRN.combine."""
    needs = image_borders(len(residuals))
    image, image_border, residual_border = padded, folded.margin, folded.margin
    outputs = []
    for index, (level, residual, flat) in enumerate(zip(folded.levels, residuals, flats, strict=True)):
        residual_border -= len(level.convs) + (2 if index == 0 else 1)  # entry and differences; the residual's own
        border = (needs[index + 1] + 1) // 2
        phases = graph.conv(level.image, graph.cropped(image, image_border - border - 1))
        summed = graph.node("Add", [phases, graph.cropped(residual, residual_border - border)])
        summed = graph.node("Sub", [summed, _repeated(graph, np.roll(flat, (border, border), (2, 3)), summed)])
        image = graph.node("DepthToSpace", [summed], blocksize=2, mode="CRD")
        image_border = 2 * border
        residual_border *= 2
        name = f"x{2 ** (index + 1)}"
        outputs.append(graph.node("Identity", [graph.cropped(image, image_border)], name))
    return outputs


def _repeated(graph: _Graph, period: NDArray[np.float32], like: str) -> str:
    """One period (1, 4, p, p) as often as `like` (N, 4, h, w) holds it; p divides h and w."""
    side = period.shape[-1]
    if side == 1:
        return graph.constant(period)
    shape = graph.node("Shape", [like], start=2)
    times = graph.node("Div", [shape, graph.constant([side, side])])
    return graph.node("Tile", [graph.constant(period), graph.node("Concat", [graph.constant([1, 1]), times], axis=0)])
