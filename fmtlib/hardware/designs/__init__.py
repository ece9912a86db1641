"""The accelerators, one file each, and the one registry of their names."""

from typing import Any

from fmtlib.choices import named, near_names, parameters_of
from fmtlib.hardware.designs.base import Design
from fmtlib.hardware.designs.bitfusion import BitFusion
from fmtlib.hardware.designs.cnvlutin import Cnvlutin
from fmtlib.hardware.designs.dadiannao import DaDianNao
from fmtlib.hardware.designs.dynamic_stripes import DynamicStripes
from fmtlib.hardware.designs.fast import Fast
from fmtlib.hardware.designs.flexblock import FlexBlock
from fmtlib.hardware.designs.laconic import Laconic
from fmtlib.hardware.designs.loom import Loom
from fmtlib.hardware.designs.pragmatic import Pragmatic
from fmtlib.hardware.designs.sat import Sat
from fmtlib.hardware.designs.scnn import Scnn
from fmtlib.hardware.designs.stripes import Stripes
from fmtlib.hardware.designs.tartan import Tartan
from fmtlib.hardware.designs.tcl import TclFrontEnd
from fmtlib.hardware.designs.tcl_e import TclE
from fmtlib.hardware.designs.tcl_p import TclP

__all__ = ["DESIGNS", "Design", "design", "design_names"]

#: Name → class, in the order in which they are listed.
DESIGNS: dict[str, type[Design]] = {
    cls.name: cls
    for cls in (
        DaDianNao,
        Stripes,
        DynamicStripes,
        Tartan,
        Loom,
        Pragmatic,
        Laconic,
        TclFrontEnd,
        TclP,
        TclE,
        Cnvlutin,
        Scnn,
        BitFusion,
        Fast,
        FlexBlock,
        Sat,
    )
}


def design_names() -> list[str]:
    """The names of all designs.

    Examples
    --------
    >>> design_names()[:3]
    ['dadiannao', 'stripes', 'dynamic_stripes']
    """
    return list(DESIGNS)


def design(name: str, **parameters: Any) -> Design:
    """A design by its name, with its defaults changed by `parameters`.

    Parameters
    ----------
    name : str
        One of `design_names()`, or where a class of your own is, as ``module.Class``, which is
        imported; the module may be in the working folder.
    **parameters
        `tiles`, `lanes`, `columns`, `rows` for every design, and its own (see its class).

    Raises
    ------
    ValueError
        Unknown name, or a parameter out of range.
    TypeError
        Unknown parameter, or one of the wrong type; a class that is no `Design`.

    Examples
    --------
    >>> design("stripes", tiles=4).array
    '4 tiles × 16 lanes × 16 columns × 16 rows'
    """
    if not isinstance(name, str):
        raise TypeError(f"a design's name must be a str, not {name!r}")
    cls = named("design", name, DESIGNS, Design)
    known = parameters_of(cls)
    for parameter in parameters:
        if parameter not in known:
            raise TypeError(f"{name} has no parameter {parameter!r}{near_names(parameter, known)}")
    made: Design = cls(**parameters)
    return made
