"""What a LapSRN is made of: its architecture in numbers, and what follows from them."""

from dataclasses import dataclass

NEIGHBOURS = tuple((y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1))
"""Places in a 3x3 kernel: the pixels whose differences from the middle one the first layer sees."""


@dataclass(frozen=True, slots=True)
class LapSRNConfig:
    """What the network is made of; saved with the weights.

    scale: 2, 4 or 8, one pyramid level per factor of two. depth: convolutions per level before the transposed one
    (5 here, 10 in the paper). width: filters. slope: of LeakyReLU below zero. depths: convolutions of each level,
    coarsest first, where they differ; empty for `depth` in every level. skips: after the first convolution of a level,
    each pair adds to the features that it started from, with an activation between the two only (the residual blocks of
    Lim et al., CVPR Workshops 2017); depths are then odd.
    """

    scale: int = 4
    depth: int = 5
    width: int = 64
    slope: float = 0.2
    depths: tuple[int, ...] = ()
    skips: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "depths", tuple(self.depths))  # JSON has lists
        if not all(isinstance(each, int) for each in (self.scale, self.depth, self.width, *self.depths)):
            raise ValueError("scale, depth, width and depths must be whole numbers")
        if not (isinstance(self.slope, int | float) and 0 <= self.slope <= 1):
            raise ValueError(f"slope is {self.slope}; it must be a number from 0 to 1")
        if self.scale not in (2, 4, 8):
            raise ValueError(f"scale is {self.scale}; it must be 2, 4 or 8")
        if self.depth < 1 or self.width < 1:
            raise ValueError(f"depth {self.depth} and width {self.width} must be at least 1")
        if len(self.depths) == self.levels and len(set(self.depths)) == 1:
            object.__setattr__(self, "depth", self.depths[0])
            object.__setattr__(self, "depths", ())
        if self.depths and (len(self.depths) != self.levels or min(self.depths) < 1):
            raise ValueError(f"depths are {self.depths}; give one of at least 1 for each of {self.levels} levels")
        if self.skips and not all(depth % 2 for depth in self.depth_of_levels):
            raise ValueError(f"depths are {self.depth_of_levels}; with skips, they must be odd: one and then pairs")

    @property
    def levels(self) -> int:
        """Pyramid levels: log2(scale)."""
        return self.scale.bit_length() - 1

    @property
    def depth_of_levels(self) -> tuple[int, ...]:
        """Convolutions of each level before its transposed one, coarsest first."""
        return self.depths or (self.depth,) * self.levels

    @property
    def scales(self) -> tuple[int, ...]:
        """The enlargements that one pass gives: (2, 4) for scale 4."""
        return tuple(2 ** (level + 1) for level in range(self.levels))

    @property
    def margin(self) -> int:
        """Source pixels that an output pixel depends on beyond its own, on each side; 9 for depth 5 and scale 4.

        Read backwards from the finest residual: each level's convolutions take one pixel each at its own resolution,
        and going down a level halves (rounded up) and takes one more for the folded upsampling.
        """
        need = 1
        for depth in self.depth_of_levels[:0:-1]:
            need = (need + depth - 1 + 1) // 2 + 1
        return need + self.depth_of_levels[0]
