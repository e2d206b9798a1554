"""A training run's recipe: network, patches, schedule, loss; and the presets."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from model.degradations import KERNELS
from model.network import LapSRNConfig
from model.training.damage import Damage
from model.training.data import DataConfig

OPTIMIZERS = ("muon", "adam")
INFINITY = math.inf


def setting(default: Any, words: str, least: float = -INFINITY, most: float = INFINITY) -> Any:
    """A field of TrainConfig: its default, what `--help` says of it, and its range."""
    return field(default=default, metadata={"help": words, "range": (least, most)})


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """A recipe; every field is an option of `python -m model.train`, with the words and the range given here."""

    depth: int = setting(5, "convolutions a level", 1)
    depths: tuple[int, ...] = setting((), "convolutions of each level, coarsest first, where they differ", 1)
    skips: bool = setting(False, "pairs of convolutions add to what they start from; depths are then odd")
    width: int = setting(64, "filters of a convolution", 1)
    scale: int = setting(4, "enlargement: 2, 4 or 8")
    core: int = setting(32, "low-resolution pixels per side of a patch that the loss sees", 1)
    batch: int = setting(128, "patches a step, over all processes", 1)
    steps: int = setting(58_000, "updates of the weights", 1)
    optimizer: str = setting("muon", f"of kernels between features: {' or '.join(OPTIMIZERS)}; the rest has Adam")
    rate: float = setting(2e-3, "learning rate after the warm-up", 0)
    final_rate: float = setting(0.01, "learning rate at the end, as a fraction of --rate", 0, 1)
    warmup: int = setting(200, "steps over which the learning rate rises", 0)
    hold: float = setting(0.3, "fraction of all steps before the learning rate falls, along a cosine", 0, 1)
    ema: float = setting(0.999, "decay of the moving average of the weights, which is what gets exported", 0, 1)
    clip: float = setting(1.0, "largest norm of the gradients", 0)
    level_weights: tuple[float, ...] = setting((0.25, 1.0), "of each level's loss, coarsest first", 0)
    epsilon: float = setting(1e-3, "of Charbonnier's loss: squared error below it, L1 above", 0)
    last_epsilon: float = setting(0.02, "epsilon in the last part of the run", 0)
    last: float = setting(0.0, "that part, as a fraction of all steps", 0, 1)
    min_scale: float = setting(
        0.7, "least factor that pictures are shrunk by at random before patches are cut", 0.05, 1
    )
    max_scale: float = setting(1.0, "largest such factor", 0.05, 1)
    variants: int = setting(3, "rescaled copies of each picture", 1)
    kernels: tuple[str, ...] = setting(
        ("bicubic",), f"ways of shrinking, one at random, of {', '.join(KERNELS)}; name one twice to have it more often"
    )
    blur: float = setting(0.0, "largest sigma of a Gaussian blur after shrinking, in low-resolution pixels", 0, 10)
    blur_chance: float = setting(0.5, "probability of blur, if --blur is not 0", 0, 1)
    noise: float = setting(
        0.0, "largest sigma of noise at mid-gray, in levels of 255; often more where it is bright", 0, 100
    )
    noise_chance: float = setting(0.5, "probability of noise, if --noise is not 0", 0, 1)
    min_quality: int = setting(0, "lowest quality of the JPEGs that low resolutions go through, or 0 for none", 0, 100)
    max_quality: int = setting(0, "highest quality of those JPEGs, or 0 for none", 0, 100)
    jpeg_chance: float = setting(1.0, "probability of JPEG", 0, 1)
    jpeg_twice: float = setting(0.0, "probability that a JPEG was one before, and cut in between", 0, 1)
    jpeg_before: float = setting(
        0.0, "probability that a picture was a JPEG before it was shrunk, and is none after", 0, 1
    )
    damages: int = setting(1, "low resolutions made of each variant, if the settings above leave anything to chance", 1)
    strengths: tuple[float, ...] = setting(
        (),
        "clean-up strengths: train the far end of the networks from --anchor to this one, each step the one at "
        "one of these strengths, on damage that it is for",
        0,
        1,
    )
    frozen: int = setting(0, "levels, from the coarsest, that keep the weights of --start-from", 0)
    flips: bool = setting(True, "mirror patches at random")
    turns: bool = setting(True, "turn patches by quarters at random")
    focus: float = setting(0.5, "patches are drawn with probability proportional to gradient energy to this power", 0)
    hold_out: int = setting(100, "one picture in this many is kept for validation; 0 for none", 0)
    seed: int = setting(0, "of everything that is random", 0, 2**63 - 1)

    def __post_init__(self) -> None:
        """Raises ValueError for what cannot be trained, before any picture is read."""
        for item in fields(self):
            least, most = item.metadata["range"]
            value = getattr(self, item.name)
            numbers = value if isinstance(value, tuple) else (value,)
            if not all(isinstance(n, str) or least <= n <= most for n in numbers):
                raise ValueError(f"{item.name} is {as_typed(value)}; it must be {_range(least, most)}")
        levels = self.network().levels
        if len(self.level_weights) != levels:
            raise ValueError(
                f"scale {self.scale} has {levels} levels; give as many level weights, not "
                f"{as_typed(self.level_weights)}"
            )
        if not 0 <= self.frozen < levels:
            raise ValueError(f"frozen is {self.frozen}; at least one of {levels} levels must learn")
        if self.min_quality > self.max_quality or (self.max_quality > 0) != (self.min_quality > 0):
            raise ValueError(
                f"min_quality {self.min_quality} and max_quality {self.max_quality} must be a range within 1 to 100, "
                "or both 0 for no JPEG"
            )
        if self.min_scale > self.max_scale:
            raise ValueError(f"min_scale {self.min_scale} is above max_scale {self.max_scale}; swap them")
        if self.hold_out == 1:
            raise ValueError("hold_out 1 would keep every picture for validation; use 2 or more, or 0 for none")
        if self.clip == 0:
            raise ValueError("clip is 0, which leaves nothing of a gradient; it must be above 0")
        if 0.0 in self.strengths:
            raise ValueError("strength 0 is the near end, which does not change; give strengths above 0")
        self.damage()
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer {self.optimizer!r} is unknown; use one of {', '.join(OPTIMIZERS)}")

    @classmethod
    def from_recipe(cls, recipe: Mapping[str, Any]) -> "TrainConfig":
        """The recipe in the metadata of a weights file; other entries are left out. Raises ValueError."""
        names = {item.name for item in fields(cls)}
        known: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in recipe.items() if name in names
        }
        if not known:
            raise ValueError("the weights have no recipe in their metadata; give the settings instead")
        return cls(**known)

    def data(self) -> DataConfig:
        """The part that says how patches are made."""
        return DataConfig(
            scale=self.scale,
            core=self.core,
            margin=self.network().margin,
            scales=(self.min_scale, self.max_scale),
            variants=self.variants,
            damage=self.damage(),
            damages=self.damages,
            strengths=self.strengths,
            flips=self.flips,
            turns=self.turns,
            focus=self.focus,
            hold_out=self.hold_out,
            seed=self.seed,
        )

    def damage(self) -> Damage:
        """The part that says how low resolutions are made."""
        jpeg = self.max_quality > 0
        return Damage(
            kernels=self.kernels,
            blur=self.blur,
            blur_chance=self.blur_chance if self.blur else 0.0,
            noise=self.noise,
            noise_chance=self.noise_chance if self.noise else 0.0,
            quality=(self.min_quality, self.max_quality) if jpeg else None,
            jpeg_chance=self.jpeg_chance if jpeg else 1.0,
            jpeg_twice=self.jpeg_twice if jpeg else 0.0,
            jpeg_before=self.jpeg_before if jpeg else 0.0,
        )

    def network(self) -> LapSRNConfig:
        """The part that says what the network is."""
        return LapSRNConfig(self.scale, self.depth, self.width, depths=self.depths, skips=self.skips)

    def rate_at(self, step: int) -> float:
        """The learning rate of a step."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        start = max(self.hold * self.steps, self.warmup)
        progress = min(max((step - start) / max(self.steps - start, 1), 0.0), 1.0)
        return self.rate * (self.final_rate + (1 - self.final_rate) * (1 + math.cos(math.pi * progress)) / 2)

    def epsilon_at(self, step: int) -> float:
        """The loss's epsilon of a step."""
        return self.last_epsilon if step >= self.steps * (1 - self.last) else self.epsilon


def as_typed(value: Any) -> str:
    """A setting as it is written on the command line."""
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _range(least: float, most: float) -> str:
    if most == INFINITY:
        return f"at least {least:g}"
    return f"from {least:g} to {most:g}"


PUBLISHED = TrainConfig(
    batch=64,
    steps=100_000,
    optimizer="adam",
    rate=1e-4,
    hold=0.0,
    level_weights=(1.0, 1.0),
    focus=0.0,
)
DEEP = TrainConfig(depths=(17, 3), skips=True, core=48, batch=56, steps=48_900)
PRESETS = {
    "served": TrainConfig(),
    # What the source document found best: HR patches of 256, hardly any rescaling, no rotations.
    "source": replace(PUBLISHED, core=64, min_scale=0.9, turns=False),
    # Lai et al. 2017: HR patches of 128, twice the depth.
    "paper": replace(PUBLISHED, depth=10, core=32, min_scale=0.5),
    # Most of its arithmetic is at x1, where a convolution costs a quarter and sees further.
    "deep": DEEP,
    # The far end of its clean-up strengths, for losses of compression.
    "deep_clean": replace(
        DEEP,
        steps=28_400,
        rate=1e-3,
        strengths=(0.5, 1.0, 0.75, 0.5, 1.0, 0.25),
        min_quality=30,
        max_quality=98,
        jpeg_twice=0.05,
        damages=3,
    ),
    "deep_x8": replace(
        DEEP,
        scale=8,
        depths=(17, 3, 3),
        frozen=2,
        level_weights=(0.0, 0.0, 1.0),
        core=24,
        batch=64,
        steps=6_000,
        rate=5e-4,
    ),
    # The far end of the clean-up strengths: photographs as people have them.
    "clean": TrainConfig(
        steps=25_000,
        rate=7e-4,
        strengths=(0.25, 0.5, 1.0, 0.5, 0.75),
        min_quality=30,
        max_quality=98,
        jpeg_chance=0.65,
        jpeg_twice=0.15,
        jpeg_before=0.1,
        kernels=("bicubic",) * 4 + ("box", "box", "linear-light", "linear-light", "bilinear", "lanczos"),
        blur=0.5,
        blur_chance=0.15,
        noise=10.0,
        noise_chance=0.25,
        damages=3,
    ),
}
