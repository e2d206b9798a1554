"""Trains the estimator of how a picture was shrunk and how noisy it is: `python -m model.training.estimator`.

A small convolutional network of which only moments over the picture are kept: the logarithms of the mean and the mean
square of every feature. A second one of two layers finds from these how the picture was shrunk (one of WAYS), and its
noise. The service runs it in app/codec/history/estimator.py.
"""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn
from torch.nn import functional

from model.checkpoint import load_tensors, save_tensors
from model.degradations import KERNELS, noisy, shrink, through_jpeg
from model.entry import Parser, check_output, file_errors
from model.pictures import find_pictures, read
from model.training.data import Gray, gray_of
from model.training.processes import end_with_parent

WAYS = (*KERNELS, "none")
"""How pictures were shrunk; the last one stands for not at all."""
FEATURES = (16, 16, 24, 32)
SIDES, STRIDES = (5, 3, 3, 3), (1, 2, 1, 2)
HIDDEN = 48
GAIN = 8.0  # of luma in 0..1
FLOORS = 1e-3, 1e-6  # of a mean and a mean square, below which its logarithm stays
TILE, TILES = 64, 48  # pixels of a side, and tiles of a step
_LEAST_SIGMA, _MOST_SIGMA = 0.5, 16.0


class Estimator(nn.Module):
    """Tiles (N, 1, H, W) of one picture each `group`, luma in 0..1, to (groups, WAYS and log(1 + sigma))."""

    def __init__(self) -> None:
        super().__init__()
        widths = (1, *FEATURES)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, side, stride)
            for (before, after), side, stride in zip(pairwise(widths), SIDES, STRIDES, strict=True)
        )
        self.hidden = nn.Linear(2 * sum(FEATURES), HIDDEN)
        self.answer = nn.Linear(HIDDEN, len(WAYS) + 1)

    def forward(self, tiles: Tensor, group: int = 1) -> Tensor:
        """Tiles of a group follow each other."""
        moments, x = [], tiles * GAIN
        for number, convolution in enumerate(self.convolutions):
            assert isinstance(convolution, nn.Conv2d)
            kernel = convolution.weight
            if not number:
                kernel = kernel - kernel.mean((2, 3), keepdim=True)  # blind to brightness
            x = torch.relu(functional.conv2d(x, kernel, convolution.bias, convolution.stride))
            mean = x.mean((2, 3)).view(-1, group, x.shape[1]).mean(1)
            square = x.square().mean((2, 3)).view(-1, group, x.shape[1]).mean(1)
            moments += [torch.log(mean + FLOORS[0]), torch.log(square + FLOORS[1]) / 2]
        answer: Tensor = self.answer(torch.relu(self.hidden(torch.cat(moments, 1))))
        return answer


def drawing(seed: int) -> Gray:
    """Text, lines and shapes in a few grays, large, with clean edges."""
    rng = np.random.default_rng(seed)
    ground, *inks = (int(each) for each in rng.choice([0, 20, 60, 110, 160, 200, 235, 255], 4, replace=False))
    image = Image.new("L", (720, 560), ground)
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(3, 25)):
        ink, kind = inks[rng.integers(3)], rng.integers(5)
        x, y, right, bottom = (int(each) for each in rng.uniform(-0.1, 1.1, 4) * (720, 560, 720, 560))
        box, width = (min(x, right), min(y, bottom), max(x, right), max(y, bottom)), int(rng.integers(2, 28))
        if kind == 0:
            draw.line((x, y, right, bottom), ink, width)
        elif kind == 1:
            draw.ellipse(box, ink if rng.random() < 0.5 else None, ink, width)
        elif kind == 2:
            draw.rounded_rectangle(box, 30, ink if rng.random() < 0.3 else None, ink, width)
        else:
            letters = "".join(chr(rng.integers(97, 123)) if rng.random() < 0.85 else " " for _ in range(30))
            size = int(rng.integers(24, 130))
            font = ImageFont.load_default(size)
            for line in range(int(rng.integers(1, 8))):
                draw.text((x, y + line * size * 1.3), letters, ink, font)
    return np.asarray(image)


def texture(seed: int) -> Gray:
    """Rough without an edge, as grass and walls: noise whose amplitudes fall with frequency."""
    rng = np.random.default_rng(seed)
    height, width = 560, 720
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    falloff = np.maximum(frequency, 1 / width) ** -rng.uniform(0.9, 2.0)
    field = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(height, width))) * falloff, (height, width))
    values = 128 + rng.uniform(10, 60) * (field - field.mean()) / field.std()
    return np.asarray(np.clip(values, 0, 255), np.uint8)


def variants_of(gray: Gray, seed: int) -> list[tuple[int, Gray]]:
    """(index into WAYS, picture): shrunk in every way by four and by another factor, and as it is."""
    rng = np.random.default_rng(seed)
    found = []
    for way, kernel in enumerate(KERNELS):
        smallest, least = (3, 2.5) if kernel == "aliased" else (2, 1.4)  # by two, "aliased" is the same as "box"
        for factor in (4.0, float(rng.choice([smallest, 3, rng.uniform(least, 4.5)]))):
            height, width = (int(side / factor) for side in gray.shape)
            if min(height, width) >= TILE:
                whole = int(factor) if factor == int(factor) else 0
                source = gray[: height * whole, : width * whole] if whole else gray
                found.append((way, shrink(source, height, width, kernel)))
    if min(gray.shape) >= TILE:
        top, left = (int(rng.integers(0, max(1, side - 256))) for side in gray.shape)
        found.append((len(KERNELS), gray[top : top + 256, left : left + 256]))
    return found


def _of_file(path: Path, seed: int) -> list[tuple[int, Gray]]:
    return variants_of(gray_of(read(path)), seed)


def _made_up(number: int) -> list[tuple[int, Gray]]:
    """Variants of drawings, without the unshrunk one, whose edges no picture has, and of textures, alternating."""
    if number % 2:
        return variants_of(texture(number), number)
    return [each for each in variants_of(drawing(number), number) if each[0] < len(KERNELS)]


class Material:
    """Pictures by the way that they were shrunk, and steps made of them."""

    def __init__(self, pictures: Sequence[tuple[int, Gray]], seed: int = 0) -> None:
        self._by_way: list[list[Gray]] = [[] for _ in WAYS]
        for way, picture in pictures:
            self._by_way[way].append(picture)
        self._rng = np.random.default_rng(seed)

    def step(self) -> tuple[int, Tensor, Tensor, Tensor]:
        """(tiles a group, tiles, way of each group, sigma of each group).

        Tiles (TILES, 1, TILE, TILE) of luma in units of full scale, up to a constant; sigma is in levels of 255.
        """
        rng, group = self._rng, int(self._rng.choice([1, 2, 4]))
        ways = rng.integers(0, len(WAYS), TILES // group)
        sigmas = np.zeros(len(ways), np.float32)
        tiles = np.empty((TILES, 1, TILE, TILE), np.float32)
        for i, way in enumerate(ways):
            pictures = self._by_way[way]
            picture = pictures[rng.integers(len(pictures))]
            corners = [[rng.integers(0, side - TILE + 1) for side in picture.shape] for _ in range(group)]
            cut = np.concatenate([picture[top : top + TILE, left : left + TILE] for top, left in corners])
            if rng.random() < 0.45:
                sigmas[i] = np.exp(rng.uniform(np.log(_LEAST_SIGMA), np.log(_MOST_SIGMA)))
                cut = noisy(cut, float(sigmas[i]), rng, 0.0 if rng.random() < 0.5 else 0.7)
            if rng.random() < 0.25:
                cut = through_jpeg(cut, int(rng.integers(70, 101)))
            turned = np.rot90(cut.reshape(group, TILE, TILE), int(rng.integers(4)), (1, 2))
            tiles[i * group : (i + 1) * group, 0] = turned[:, :, ::-1] if rng.random() < 0.5 else turned
        tiles *= np.float32(219 / 255 / 255)  # the studio range of luma, up to a constant
        return group, torch.from_numpy(tiles), torch.from_numpy(ways), torch.from_numpy(sigmas)


def restored(path: Path) -> Estimator:
    """The estimator of a file, which may have fewer WAYS: those it lacks begin as unlikely. Raises WeightsError."""
    tensors, about = load_tensors(path)
    network = Estimator()
    rows = [WAYS.index(way) for way in about["ways"]] + [len(WAYS)]
    weight, bias = torch.zeros(len(WAYS) + 1, HIDDEN), torch.full((len(WAYS) + 1,), -5.0)
    weight[rows], bias[rows] = tensors["answer.weight"], tensors["answer.bias"]
    network.load_state_dict(tensors | {"answer.weight": weight, "answer.bias": bias})
    return network


def train(network: Estimator, material: Material, steps: int, rate: float, every: int = 250) -> None:
    """Trains for `steps` steps, and prints the mean loss after every `every` of them."""
    optimizer = torch.optim.AdamW(network.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    losses: NDArray[np.float64] = np.zeros(3)
    for step in range(1, steps + 1):
        group, tiles, ways, sigmas = material.step()
        answer = network(tiles, group)
        plain = (sigmas < 2).float()
        which = functional.cross_entropy(answer[:, :-1], ways, reduction="none")
        which = (which * (0.2 + 0.8 * plain)).mean()
        noise = functional.smooth_l1_loss(answer[:, -1], torch.log1p(sigmas), beta=0.1)
        optimizer.zero_grad()
        (which + noise).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        right = ((answer[:, :-1].argmax(1) == ways) * plain).sum() / plain.sum().clip(1)
        losses += (which.item(), noise.item(), right.item())
        if step % every == 0:
            print(
                f"step {step:6}  ways {losses[0] / every:.3f}  noise {losses[1] / every:.4f}  "
                f"right {losses[2] / every:.3f}",
                flush=True,
            )
            losses[:] = 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = Parser("model.training.estimator", __doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of pictures to learn from")
    parser.add_argument("--to", type=Path, required=True, help="file to write")
    parser.add_argument(
        "--made-up",
        type=int,
        default=480,
        help="drawings and textures beside (default: %(default)s)",
    )
    parser.add_argument("--steps", type=int, default=12000, help="steps (default: %(default)s)")
    parser.add_argument("--start-from", type=Path, help="file of an estimator to train further")
    parser.add_argument("--seed", type=int, default=0, help="of the steps (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=5e-3, help="highest learning rate (default: %(default)s)")
    options = parser.parse_args(arguments)
    with file_errors(parser.prog):
        check_output(options.to)
        files = find_pictures(options.data)
        with ProcessPoolExecutor(initializer=end_with_parent) as executor:
            parts = list(executor.map(_of_file, files, range(len(files)), chunksize=8))
            parts += executor.map(_made_up, range(options.made_up), chunksize=8)
        torch.manual_seed(0)
        network = restored(options.start_from) if options.start_from else Estimator()
        material = Material([each for part in parts for each in part], seed=options.seed)
        train(network, material, options.steps, options.rate)
        about = {"ways": WAYS, "strides": STRIDES, "gain": GAIN, "floors": FLOORS}
        save_tensors(options.to, network.state_dict(), about | {"pictures": len(files), "steps": options.steps})


if __name__ == "__main__":
    main()
