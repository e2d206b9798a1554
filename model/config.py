"""What a LapSRN is made of: its architecture in numbers, and what follows from them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LapSRNConfig:
    """What the network is made of; saved with the weights.

    scale: 2, 4 or 8, one pyramid level per factor of two. depth: convolutions per level before the transposed one
    (5 here, 10 in the paper). width: filters. slope: of LeakyReLU below zero.
    """

    scale: int = 4
    depth: int = 5
    width: int = 64
    slope: float = 0.2

    def __post_init__(self) -> None:
        if self.scale not in (2, 4, 8):
            raise ValueError(f"scale is {self.scale}; it must be 2, 4 or 8")
        if self.depth < 1 or self.width < 1:
            raise ValueError(f"depth {self.depth} and width {self.width} must be at least 1")

    @property
    def levels(self) -> int:
        """Pyramid levels: log2(scale)."""
        return self.scale.bit_length() - 1

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
        for _ in range(self.levels - 1):
            need = (need + self.depth - 1 + 1) // 2 + 1
        return need + self.depth
