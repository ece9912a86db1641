"""What every design has: the size of its array, and the three counts it must give."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar
from weakref import WeakKeyDictionary

from fmtlib.arguments import whole_number
from fmtlib.hardware.layers import Layer
from fmtlib.hardware.walk import Walk, walk_layer

T = TypeVar("T")

_KEPT = 8  # of each layer
_found: WeakKeyDictionary[Layer, dict[Hashable, Any]] = WeakKeyDictionary()


def remembered(layer: Layer, key: Hashable, find: Callable[[], T]) -> T:
    """What `find` gives, kept under `key` while the layer, which never changes, lives.

    For costly things that several counts, or designs, ask of a layer; the last few are kept.
    """
    known = _found.setdefault(layer, {})
    if key in known:
        found: T = known[key]
        return found
    found = find()
    for oldest in list(known)[: max(len(known) + 1 - _KEPT, 0)]:
        known.pop(oldest, None)
    known[key] = found
    return found


# A bit-parallel multiplier of 16 × 16 bits does this many bit products for one MAC.
BIT_PARALLEL_PRODUCTS = 16 * 16


@dataclass(frozen=True, kw_only=True)
class Design(ABC):
    """An accelerator: its array and its own parameters; a subclass adds the rules.

    Parameters
    ----------
    tiles : int
        Tiles; they share the windows and take different filter sets.
    lanes : int
        Products a processing element sums in one step.
    columns : int
        Windows in flight.
    rows : int
        Filters in flight in one tile.

    Raises
    ------
    TypeError, ValueError
        A parameter that is not an integer, or below 1.
    """

    name: ClassVar[str]

    tiles: int = 1
    lanes: int = 16
    columns: int = 16
    rows: int = 16

    def __post_init__(self) -> None:
        if not isinstance(getattr(self, "name", None), str):
            raise TypeError(
                f"{type(self).__name__} needs a name, to stand beside its figures: "
                'name = "..." in the class, without an annotation'
            )
        for field in ("tiles", "lanes", "columns", "rows"):
            self._check(field, 1)

    def _check(self, field: str, minimum: int, maximum: int | None = None) -> None:
        """Check an integer parameter and keep it as a Python int."""
        object.__setattr__(self, field, whole_number(field, getattr(self, field), minimum, maximum))

    def _check_flag(self, field: str) -> None:
        """Check a parameter that is True or False."""
        if not isinstance(getattr(self, field), bool):
            raise TypeError(f"{field} must be True or False, not {getattr(self, field)!r}")

    def _check_choice(self, field: str, allowed: Iterable[Any]) -> None:
        """Check a parameter that is one of a few."""
        value, allowed = getattr(self, field), tuple(allowed)
        if isinstance(value, bool) or value not in allowed:
            names = [repr(choice) for choice in allowed]
            words = " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))
            raise ValueError(f"{field} must be {words}, not {value!r}")

    def walk(self, layer: Layer) -> Walk:
        """The walk of a layer over this array."""
        return walk_layer(
            layer, tiles=self.tiles, lanes=self.lanes, columns=self.columns, rows=self.rows
        )

    @property
    def baseline_rows(self) -> int:
        """Rows of the bit-parallel baseline beside it, which has the same tiles and lanes."""
        return self.rows

    @property
    def multipliers(self) -> int:
        """Products summed at once: tiles·lanes·columns·rows."""
        return self.tiles * self.lanes * self.columns * self.rows

    @property
    def array(self) -> str:
        """The array in words, to stand beside every figure."""
        size = ((getattr(self, f), f) for f in ("tiles", "lanes", "columns", "rows"))
        return " × ".join(f"{n} {what if n != 1 else what[:-1]}" for n, what in size)

    @property
    def parameters(self) -> dict[str, Any]:
        """All parameters, the array's first."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def label(self) -> str:
        """The name, with its own parameters that differ from their defaults."""
        size = ("tiles", "lanes", "columns", "rows")
        own = [
            f"{field.name}={getattr(self, field.name)}"
            for field in fields(self)
            if field.name not in size and getattr(self, field.name) != field.default
        ]
        return f"{self.name} ({', '.join(own)})" if own else self.name

    @property
    @abstractmethod
    def peak_bit_products_per_cycle(self) -> int:
        """Single-bit products the whole array can do in a cycle."""

    @abstractmethod
    def compute_cycles(self, layer: Layer) -> int:
        """Cycles of the whole batch, memory aside."""

    @abstractmethod
    def effectual_bit_products(self, layer: Layer) -> int:
        """Bit products the design cannot avoid, summed over the MACs of the unfolded layer."""

    def own_counts(self, layer: Layer) -> dict[str, int]:
        """Further counts only this design has; they add up over layers."""
        return {}
