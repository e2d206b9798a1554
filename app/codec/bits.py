"""Bits of a header, as AV1 and HEVC write numbers. (AV1 Bitstream Specification, 4.10; ITU-T H.265, 9.2.)"""


class Bits:
    """Bits from the highest down. Raises IndexError where the data ends."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def f(self, bits: int) -> int:
        """An unsigned integer of `bits` bits."""
        first, self._at = self._at, self._at + bits
        if self._at > 8 * len(self._data):
            raise IndexError(self._at)
        whole = int.from_bytes(self._data[first >> 3 : self._at + 7 >> 3], "big")
        return whole >> (-self._at & 7) & (1 << bits) - 1

    def uvlc(self) -> int:
        """A number of variable length: AV1's uvlc(), and HEVC's ue(v)."""
        zeros = 0
        while not self.f(1):
            zeros += 1
        return (1 << 32) - 1 if zeros >= 32 else self.f(zeros) + (1 << zeros) - 1

    def ns(self, values: int) -> int:
        """A number below `values`: AV1's ns()."""
        bits = values.bit_length()
        short = (1 << bits) - values
        value = self.f(bits - 1)
        return value if value < short else (value << 1) - short + self.f(1)
