"""The PNG writer against Pillow and OpenCV: `python -m bench.png [--data FOLDER] [--json FILE]`.

On results of the service (Set5 and Set14 enlarged by four, with the weights if they are there, else bicubically) and
on a drawn screenshot, each also enlarged: bytes, CPU seconds, and whether Pillow and OpenCV read every bit back. Then
the codec's own stages for 256x256 in, 1024x1024 out. CPU time of one thread, the best of several runs.
"""

import io
import json
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from app.build import build_formulas
from app.codec import Codec, DecodeLimits, Plane, Samples
from app.codec.merge import merge
from app.codec.raster import Raster
from app.codec.split import split
from app.codec.writers.png import write
from app.options import UpscaleOptions
from bench.paths import DATA, WEIGHTS
from model import resample
from model.entry import Parser, at_least, check_output, file_errors

SCALE: Final = 4
FORMULAS = build_formulas()

OPTIONS = UpscaleOptions(scale=SCALE)

Encoder = Callable[[Samples], bytes]
Upscaler = Callable[[Plane], Plane]


def by_pillow(samples: Samples, **settings: Any) -> bytes:
    """Pillow's file."""
    file = io.BytesIO()
    Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples).save(file, "PNG", **settings)
    return file.getvalue()


def encoders() -> dict[str, Encoder]:
    """Ours first, Pillow's default second; OpenCV only where it is installed."""
    found: dict[str, Encoder] = {
        "this project": lambda samples: write(Raster((samples,), "PNG"), OPTIONS),
        "Pillow, default": by_pillow,
        "Pillow, level 1": lambda samples: by_pillow(samples, compress_level=1),
    }
    try:
        import cv2
    except ImportError:
        return found
    found["OpenCV, default"] = lambda samples: bytes(cv2.imencode(".png", np.ascontiguousarray(samples[..., ::-1]))[1])
    return found


def upscaler() -> tuple[str, Upscaler]:
    """The network if its weights are there, else bicubic."""
    if WEIGHTS.is_file():
        from model.runtime import Weights, load

        (runtime,) = load([Weights.open(WEIGHTS)], "cpu").values()

        def by_network(plane: Plane) -> Plane:
            padded = np.pad(plane, runtime.info.window_margin, mode="symmetric")
            large: Plane = runtime.run(padded[None], SCALE)[SCALE][0].copy()
            return large

        return runtime.info.name, by_network
    return "bicubic", lambda plane: resample.resize(plane, plane.shape[0] * SCALE, plane.shape[1] * SCALE).astype(
        np.float32
    )


def enlarged(samples: Samples, upscale: Upscaler) -> Samples:
    """What the service makes of a picture, before it is written."""
    picture = split(samples, FORMULAS)
    return merge(picture, tuple(upscale(plane) for plane in picture.planes), SCALE, 8, FORMULAS, consistent=True)


def screenshot(height: int, width: int) -> NDArray[np.uint8]:
    """A window with a title, text, a button row, a gradient and lines, as an application draws them."""
    image = Image.new("RGB", (width, height), (246, 246, 247))
    draw = ImageDraw.Draw(image)
    for row in range(36):
        draw.line((0, row, width, row), fill=(52 + row, 61 + row, 82 + row))
    draw.text((12, 12), "Document - Editor", fill="white")
    for line in range(5, height // 14):
        words = " ".join("lorem ipsum dolor sit amet"[(line * 7 + k) % 20 :][: 3 + (line * k) % 9] for k in range(12))
        draw.text((24, line * 14), words, fill=(30, 30, 34))
    for at in range(width // 2, width - 90, 96):
        draw.rounded_rectangle((at, 48, at + 84, 72), 5, fill=(0, 102, 204), outline=(0, 70, 150))
        draw.text((at + 20, 54), "Apply", fill="white")
    return np.array(image)


def pictures(data: Path) -> Iterator[tuple[str, Samples]]:
    """(set, result) for every picture that is available."""
    name, upscale = upscaler()
    print(f"enlarged by: {name}")
    for group in ("Set5", "Set14"):
        for path in sorted((data / group / "LRx4").glob("*.png")):
            samples = np.array(Image.open(path).convert("RGB"))
            yield group, enlarged(samples, upscale)
    yield "screenshot, as it is", screenshot(800, 1280)
    yield "screenshot, enlarged", enlarged(screenshot(200, 320), upscale)


def cpu_seconds(call: Callable[[], Any], runs: int) -> float:
    """CPU time of the best of several runs."""
    best = float("inf")
    for _ in range(runs):
        started = time.process_time()
        call()
        best = min(best, time.process_time() - started)
    return best


def compare(data: Path, runs: int) -> dict[str, dict[str, dict[str, float]]]:
    """{set: {encoder: bytes, seconds, megapixels}}. Raises if a file does not read back bit for bit."""
    known = encoders()
    totals: dict[str, dict[str, dict[str, float]]] = {}
    for group, samples in pictures(data):
        for name, encode in known.items():
            body = encode(samples)
            if name == "this project":
                check(body, samples)
            total = totals.setdefault(group, {}).setdefault(name, {"bytes": 0, "seconds": 0, "megapixels": 0})
            total["bytes"] += len(body)
            total["seconds"] += cpu_seconds(lambda encode=encode, samples=samples: encode(samples), runs)  # type: ignore[misc]
            total["megapixels"] += samples.shape[0] * samples.shape[1] / 1e6
    return totals


def check(body: bytes, samples: Samples) -> None:
    """Raises unless Pillow, and OpenCV where it is installed, read the samples back."""
    if not np.array_equal(np.asarray(Image.open(io.BytesIO(body))), samples):
        raise SystemExit("Pillow does not read back what was written")
    try:
        import cv2
    except ImportError:
        return
    read = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED)
    if read is None or not np.array_equal(read[..., ::-1], samples):
        raise SystemExit("OpenCV does not read back what was written")


def stages(runs: int) -> dict[str, float]:
    """CPU milliseconds of each stage of the codec for a 256x256 JPEG in and a 1024x1024 PNG out, network left out."""
    small = enlarged(screenshot(64, 64), lambda plane: np.ascontiguousarray(plane.repeat(4, 0).repeat(4, 1)))
    noisy = small.astype(int) + np.random.default_rng(0).integers(-6, 7, small.shape)
    file = io.BytesIO()
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    codec = Codec(FORMULAS, DecodeLimits(), threads=1)
    decoded = codec.decode(file.getvalue(), UpscaleOptions(scale=SCALE))
    plane = decoded.frames[0].luma
    large = (resample.resize(plane, 1024, 1024).astype(np.float32),)
    samples = merge(decoded.frames[0], large, SCALE, 8, FORMULAS, consistent=True)
    calls: dict[str, Callable[[], Any]] = {
        "decode and split": lambda: codec.decode(file.getvalue(), UpscaleOptions(scale=SCALE)),
        "merge": lambda: merge(decoded.frames[0], large, SCALE, 8, FORMULAS, consistent=True),
        "PNG": lambda: write(Raster((samples,), "PNG"), OPTIONS),
        "merge and PNG together": lambda: codec.encode(decoded, [large], SCALE, UpscaleOptions()),
    }
    return {name: 1000 * cpu_seconds(call, runs) for name, call in calls.items()}


def main() -> None:
    """Prints the tables and writes JSON if asked."""
    parser = Parser("bench.png", __doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with Set5 and Set14")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    parser.add_argument("--runs", type=at_least(1), default=3)
    arguments = parser.parse_args()
    with file_errors(parser.prog):
        check_output(arguments.json)
    totals = compare(arguments.data, arguments.runs)
    print(f"\n{'set':22} {'encoder':16} {'size':>7} {'speed':>7} {'ms/MP':>7}   (size and speed relative to Pillow)")
    for group, found in totals.items():
        base = found["Pillow, default"]
        for name, total in found.items():
            size, speed = total["bytes"] / base["bytes"], base["seconds"] / total["seconds"]
            print(
                f"{group:22} {name:16} {size:7.3f} {speed:6.1f}x {1000 * total['seconds'] / total['megapixels']:7.1f}"
            )
    times = stages(arguments.runs * 3)
    print("\n256x256 in, 1024x1024 out, CPU ms: " + ", ".join(f"{name} {value:.1f}" for name, value in times.items()))
    if arguments.json:
        report = {"machine": platform.processor() or platform.machine(), "totals": totals, "stages_ms": times}
        arguments.json.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
