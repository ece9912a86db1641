"""Recipes that give each role, weight, activation and gradient, a format of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import fmtlib as fl
from fmtlib.formats import Format, Rounding
from fmtlib.training.recipes.base import ROLES, Operand, Recipe, Role, check_rounding

_F = TypeVar("_F", bound=Format)


@dataclass(frozen=True)
class RoleFormats(Recipe):
    """A format for each role, a rounding for gradients, perhaps an accumulator.

    Parameters
    ----------
    weight_format, activation_format, gradient_format : str
    gradient_rounding : str
        One of `fmtlib.encode`'s.
    accumulator : str or fmtlib.Accumulator, optional
        What adds the products of codes up, see `fmtlib.matmul`.
    """

    weight_format: str = "float32"
    activation_format: str = "float32"
    gradient_format: str = "float32"
    gradient_rounding: Rounding = "nearest_even"
    accumulator: str | fl.Accumulator | None = None

    def _check(self, kind: type[Format], what: str) -> None:
        """Raise the errors of all parameters; formats must be of `kind`."""
        formats = []
        for role in ROLES:
            fmt = fl.get_format(getattr(self, f"{role}_format"))
            if not isinstance(fmt, kind):
                raise ValueError(f"{role}_format must be a {what} format, got {fmt.name}")
            formats.append(fmt)
        check_rounding("gradient_rounding", self.gradient_rounding)
        if isinstance(self.accumulator, str):
            fl.Accumulator.preset(self.accumulator, *formats[:2])
        elif not (self.accumulator is None or isinstance(self.accumulator, fl.Accumulator)):
            raise TypeError(f"accumulator must be a name or an Accumulator, got {self.accumulator}")

    def _format(self, role: Role, kind: type[_F]) -> _F:
        fmt = fl.get_format(getattr(self, f"{role}_format"))
        assert isinstance(fmt, kind)
        return fmt

    def _rounding(self, operand: Operand) -> dict[str, Any]:
        """The arguments of `encode` that say how an operand is rounded."""
        if operand.role != "gradient":
            return {}
        seed = {"seed": operand.key} if self.gradient_rounding.startswith("stochastic") else {}
        return {"rounding": self.gradient_rounding, **seed}
