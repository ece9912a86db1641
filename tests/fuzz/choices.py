"""What a fuzzed input decides: numbers, choices, texts, taken from its front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Choices:
    """Decisions read from bytes; where those end, the least number and the first choice."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def bytes(self, count: int) -> bytes:
        """So many bytes, or what is left."""
        found = self.data[self.at : self.at + count]
        self.at += count
        return found

    def rest(self) -> bytes:
        """All that is left."""
        return self.bytes(len(self.data))

    def number(self, low: int, high: int) -> int:
        """A number from low to high."""
        width = max((high - low).bit_length() + 7 >> 3, 1)
        return low + int.from_bytes(self.bytes(width), "little") % (high - low + 1)

    def pick(self, some: Sequence[T]) -> T:
        """One of these."""
        return some[self.number(0, len(some) - 1)]

    def flag(self) -> bool:
        """Yes or no."""
        return bool(self.number(0, 1))
