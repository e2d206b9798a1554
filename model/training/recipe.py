"""What a training run is told: network, patches, schedule, loss; and the presets."""

import math
from dataclasses import dataclass, replace

from model.network import LapSRNConfig
from model.training.data import DataConfig

OPTIMIZERS = ("muon", "adam")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """A recipe. batch: patches a step over all processes. The learning rate warms up over `warmup` steps, holds until
    the fraction `hold` of all steps, then falls by a cosine to `final_rate` of itself. epsilon: of Charbonnier's loss;
    last_epsilon: in the fraction `last` of all steps, at the end, larger and so nearer to the squared error, which PSNR
    is made of. min_quality, max_quality: of the JPEG that the low resolution goes through, or 0 for none. frozen:
    levels, from the coarsest, that keep the weights they start with.
    """

    depth: int = 5
    scale: int = 4
    core: int = 32
    batch: int = 128
    steps: int = 58_000
    optimizer: str = "muon"
    rate: float = 2e-3
    final_rate: float = 0.01
    warmup: int = 200
    hold: float = 0.3
    ema: float = 0.999
    clip: float = 1.0
    level_weights: tuple[float, ...] = (0.25, 1.0)
    epsilon: float = 1e-3
    last_epsilon: float = 0.02
    last: float = 0.0
    min_scale: float = 0.7
    max_scale: float = 1.0
    variants: int = 3
    min_quality: int = 0
    max_quality: int = 0
    frozen: int = 0
    flips: bool = True
    turns: bool = True
    focus: float = 0.5
    hold_out: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError for what cannot be trained, before any picture is read."""
        levels = self.network().levels
        if len(self.level_weights) != levels:
            raise ValueError(
                f"scale {self.scale} has {levels} levels; give as many level weights, not {self.level_weights}"
            )
        if not 0 <= self.frozen < levels:
            raise ValueError(f"frozen is {self.frozen}; at least one of {levels} levels must learn")
        if not 0 <= self.min_quality <= self.max_quality <= 100 or (self.max_quality > 0) != (self.min_quality > 0):
            raise ValueError(
                f"min_quality {self.min_quality} and max_quality {self.max_quality} must be a range within 1 to 100, "
                "or both 0 for no JPEG"
            )
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer {self.optimizer!r} is unknown; use one of {', '.join(OPTIMIZERS)}")

    def data(self) -> DataConfig:
        """The part that says how patches are made."""
        return DataConfig(
            scale=self.scale,
            core=self.core,
            margin=self.network().margin,
            scales=(self.min_scale, self.max_scale),
            variants=self.variants,
            jpeg=(self.min_quality, self.max_quality) if self.max_quality else None,
            flips=self.flips,
            turns=self.turns,
            focus=self.focus,
            hold_out=self.hold_out,
            seed=self.seed,
        )

    def network(self) -> LapSRNConfig:
        """The part that says what the network is."""
        return LapSRNConfig(scale=self.scale, depth=self.depth)

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


PUBLISHED = TrainConfig(
    batch=64,
    steps=100_000,
    optimizer="adam",
    rate=1e-4,
    hold=0.0,
    level_weights=(1.0, 1.0),
    focus=0.0,
)
PRESETS = {
    "served": TrainConfig(),
    # What the source document found best: HR patches of 256, hardly any rescaling, no rotations.
    "source": replace(PUBLISHED, core=64, min_scale=0.9, turns=False),
    # Lai et al. 2017: HR patches of 128, twice the depth.
    "paper": replace(PUBLISHED, depth=10, core=32, min_scale=0.5),
}
