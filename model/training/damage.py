"""Low resolutions as people have them: what `model.degradations` does, each with a chance of being left out."""

from dataclasses import dataclass

import numpy as np

from model.degradations import KERNELS, blurred, cut_before_jpeg, noisy, shrink, through_jpeg
from model.pictures import Picture

SPREAD = 0.15  # how far from its own strength the damage may be that a network in the middle is shown
BEYOND = 1.25  # the highest strength whose damage the far end is shown
LARGER = 2.5  # most times the low resolution at which a picture was saved before it was shrunk


@dataclass(frozen=True, slots=True)
class Damage:
    """What low resolutions go through, in this order, and how probable each step is; see `TrainConfig` for the units.

    kernels: of shrinking, each as probable as often as it is named. quality: the range of JPEG's, or None for no JPEG.
    """

    kernels: tuple[str, ...] = ("bicubic",)
    blur: float = 0.0
    blur_chance: float = 0.0
    noise: float = 0.0
    noise_chance: float = 0.0
    quality: tuple[int, int] | None = None
    jpeg_chance: float = 1.0
    jpeg_twice: float = 0.0
    jpeg_before: float = 0.0

    def __post_init__(self) -> None:
        if unknown := set(self.kernels) - set(KERNELS):
            raise ValueError(f"unknown kernels {', '.join(sorted(unknown))}; use {', '.join(KERNELS)}")
        if not self.kernels:
            raise ValueError(f"name at least one kernel of {', '.join(KERNELS)}")
        for name in ("blur_chance", "noise_chance", "jpeg_chance", "jpeg_twice", "jpeg_before"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it is a probability, 0 to 1")
        for name in ("blur", "noise"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it cannot be negative")

    @property
    def nothing(self) -> bool:
        """Whether every low resolution is MATLAB's bicubic and nothing more."""
        return self == NO_DAMAGE

    def apply(self, finest: Picture, scale: int, rng: np.random.Generator, strength: float | None = None) -> Picture:
        """A low resolution of `finest` (H, W), whose sides are multiples of `scale`, at random.

        `strength` of 0 to 1 limits how much blur, noise and compression there is; None allows all of the ranges.
        """
        height, width = (side // scale for side in finest.shape[:2])
        kernel = str(rng.choice(self.kernels))
        share = 1.0 if strength is None else strength
        before = rng.random() < self.jpeg_before
        if before and self.quality is not None:
            factor = rng.uniform(1.25, min(LARGER, scale))
            larger = shrink(finest, round(factor * height), round(factor * width), kernel)
            low = shrink(through_jpeg(larger, self._quality(rng, strength)), height, width, kernel)
        else:
            low = shrink(finest, height, width, kernel)
        if rng.random() < self.blur_chance:
            low = blurred(low, rng.uniform(0, self.blur * share))
        if rng.random() < self.noise_chance:
            low = noisy(low, rng.uniform(0, self.noise * share), rng, shot=rng.choice([0.0, rng.random()]))
        if self.quality is not None and not before and rng.random() < self.jpeg_chance:
            if rng.random() < self.jpeg_twice:
                top, left = rng.integers(0, 8, size=2)
                low = cut_before_jpeg(low, self._quality(rng, strength), int(top), int(left))
            low = through_jpeg(low, self._quality(rng, strength))
        return low

    def _quality(self, rng: np.random.Generator, strength: float | None) -> int:
        """Uniform over the range or, given a strength, over the qualities near those that it is for."""
        assert self.quality is not None
        least, most = self.quality
        if strength is None:
            return int(rng.integers(least, most + 1))
        far = BEYOND if strength == 1 else strength + SPREAD
        near = 0.0 if strength <= 2 * SPREAD else strength - SPREAD
        return int(np.clip(round(quality_for(rng.uniform(near, far))), least, most))


NO_DAMAGE = Damage()


def quality_for(strength: float) -> float:
    """The JPEG quality that a clean-up strength is trained for: 95 for 0.25, 90 for 0.5, 80 for 0.75, 60 for 1.

    The quantisers of JPEG's quality q above 50 are proportional to 100 - q; here that doubles every quarter.
    """
    return 100 - 2.5 * 2 ** (4 * strength)
