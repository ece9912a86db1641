"""Energy of counts, from tables of constants that say where they are from."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from fmtlib.choices import near_names
from fmtlib.hardware.designs.base import Design
from fmtlib.hardware.memory import Memory, MemoryCounts

_WORD = 64  # bits of one access in the tables


@cache
def table(name: str) -> dict[str, Any]:
    """One of the data files of this package, read only."""
    path = files("fmtlib.hardware").joinpath("data", f"{name}.toml")
    return tomllib.loads(path.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Constant:
    """One entry of an energy table.

    Attributes
    ----------
    name : str
        The operation and its width.
    value : float
    unit : str
    node_nm : float
        Technology node in nanometres.
    voltage : float
        Supply in volts.
    source : str
    estimate : str or None
        How it was made, where it was not measured.
    """

    name: str
    value: float
    unit: str
    node_nm: float
    voltage: float
    source: str
    estimate: str | None = None


@dataclass(frozen=True)
class EnergyTable:
    """Constants of one technology.

    Attributes
    ----------
    title : str
    constants : tuple of Constant

    Examples
    --------
    >>> measured = energy_table("horowitz_45nm")
    >>> measured["int_add_16b"].value, measured["int_add_16b"].unit
    (0.05, 'pJ')
    >>> measured["int_mul_16b"]
    Traceback (most recent call last):
    ...
    ValueError: the energy table 'Horowitz, 45 nm' has no constant 'int_mul_16b'

    The baseline multiplies 16 bits, so that ratios to it need the estimates.
    """

    title: str
    constants: tuple[Constant, ...]

    def __getitem__(self, name: str) -> Constant:
        return self.find(name)

    def find(self, name: str, wanted_by: str | None = None) -> Constant:
        """A constant; the error that there is none says who wanted it."""
        for constant in self.constants:
            if constant.name == name:
                return constant
        why = "" if wanted_by is None else f", which {wanted_by} needs"
        raise ValueError(f"the energy table {self.title!r} has no constant {name!r}{why}")


ENERGY_TABLES = ("horowitz_45nm", "estimates_45nm")


def energy_table(name: str) -> EnergyTable:
    """One of the tables that come with the package.

    Parameters
    ----------
    name : {"horowitz_45nm", "estimates_45nm"}
        What was published; and that with our interpolations, each marked as an estimate.

    Raises
    ------
    ValueError
        If there is no such table.

    Examples
    --------
    >>> energy_table("estimates_45nm").title
    'Horowitz, 45 nm, with our estimates'
    """
    if name not in ENERGY_TABLES:
        raise ValueError(f"unknown energy table {name!r}{near_names(name, ENERGY_TABLES)}")
    data = table(name)
    inherited = energy_table(data["extends"]).constants if "extends" in data else ()
    common = (data["node_nm"], data["voltage_V"], data["source"])
    own = tuple(
        Constant(key, entry["value"], entry["unit"], *common, entry.get("estimate"))
        for key, entry in data["constants"].items()
    )
    return EnergyTable(data["title"], inherited + own)


def lane_operations(item: Design) -> dict[str, int]:
    """Operations that one multiplier lane of a design does in a cycle (our reading).

    Raises
    ------
    ValueError
        If there is no entry for the design.

    Examples
    --------
    >>> from fmtlib.hardware import design
    >>> lane_operations(design("loom", serial_bits=2))
    {'int_add_1b': 2}
    """
    known = table("operations")
    if item.name not in known:
        raise ValueError(f"no operations of a lane of {item.name!r} are known")
    entry = dict(known[item.name])
    times = getattr(item, entry.pop("per")) if "per" in entry else 1
    return {name: times * count for name, count in entry.items()}


@dataclass(frozen=True, kw_only=True)
class Energy:
    """How energy is computed.

    Parameters
    ----------
    table : EnergyTable or str
        The constants.
    dram : {"low", "high"}
        Which end of the published range DRAM takes.
    missing : {"raise", "omit"}
        What a design, or the baseline, does of which a constant is missing: raise an error that
        names it, or go without energy, or without ratios to the baseline.

    Raises
    ------
    ValueError
        An unknown name.

    Notes
    -----
    - **Every PE clocked**: energy of a lane's operations · lanes of the whole array · compute
      cycles. A serial design clocks all its lanes at each cycle, whatever they hold. While the
      array waits for DRAM it is not clocked.
    - **Effectual work**: energy of a lane's operations for one bit product · effectual bit
      products: what remains if nothing else were clocked. Not for a design to reach.
    - **SRAM**: bits · energy of a 64-bit access to one bank / 64; DRAM likewise.
    - Registers, control, wires, leakage and the logic that compresses are in no table, and not
      in these energies. Take ratios, not absolute values.

    Examples
    --------
    >>> Energy(table="estimates_45nm").dram
    'low'
    """

    table: EnergyTable | str = "horowitz_45nm"
    dram: Literal["low", "high"] = "low"
    missing: Literal["raise", "omit"] = "raise"

    def __post_init__(self) -> None:
        if isinstance(self.table, str):
            object.__setattr__(self, "table", energy_table(self.table))
        for name, allowed in (("dram", ("low", "high")), ("missing", ("raise", "omit"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be {' or '.join(map(repr, allowed))}")

    @property
    def constants(self) -> EnergyTable:
        """The table itself."""
        assert isinstance(self.table, EnergyTable)
        return self.table

    def _picojoules(self, name: str, wanted_by: str | None = None) -> float:
        constant = self.constants.find(name, wanted_by)
        if constant.unit != "pJ":
            raise ValueError(f"the constant {name!r} must be in pJ, not in {constant.unit}")
        return constant.value

    def lane(self, item: Design) -> float:
        """Energy of one lane in one cycle, in pJ.

        Raises
        ------
        ValueError
            If a constant is missing; it is named.
        """
        operations = lane_operations(item)
        return sum(n * self._picojoules(name, item.name) for name, n in operations.items())

    def lacking(self, item: Design) -> str | None:
        """What is missing for a design, or None.

        Examples
        --------
        >>> from fmtlib.hardware import design
        >>> Energy(table="estimates_45nm").lacking(design("pragmatic"))
        "no constant 'int_shift_16b'"
        """
        if item.name not in table("operations"):
            return "operations of a lane not known"
        there = {constant.name for constant in self.constants.constants}
        missing = [repr(name) for name in lane_operations(item) if name not in there]
        return f"no constant {' or '.join(missing)}" if missing else None

    def count(
        self,
        item: Design,
        cycles: int,
        effectual_bit_products: int,
        traffic: MemoryCounts,
        memory: Memory,
    ) -> EnergyCounts:
        """The energy of a layer on a design.

        Parameters
        ----------
        item : Design
        cycles : int
            In which the array computes.
        effectual_bit_products : int
        traffic : MemoryCounts
        memory : Memory
            Whose banks the on-chip accesses go to.
        """
        lane = self.lane(item)
        per_product = lane * item.multipliers / item.peak_bit_products_per_cycle
        sram = self._picojoules(f"sram_{_WORD}b_{_kibibytes(memory.bank_bytes)}")
        dram = self._picojoules(f"dram_{_WORD}b_{self.dram}")
        return EnergyCounts(
            compute_clocked_pj=lane * item.multipliers * cycles,
            compute_effectual_pj=per_product * effectual_bit_products,
            sram_pj=sram / _WORD * traffic.sram_bits,
            dram_pj=dram / _WORD * traffic.dram_bits,
        )


def _kibibytes(size: int) -> str:
    return f"{size >> 10}KiB" if size % 1024 == 0 else f"{size}B"


@dataclass(frozen=True)
class EnergyCounts:
    """Energy of one layer, or of all layers, in pJ; it adds up.

    Attributes
    ----------
    compute_clocked_pj : float
        Every PE clocked.
    compute_effectual_pj : float
        Of the effectual work alone.
    sram_pj, dram_pj : float
    """

    compute_clocked_pj: float
    compute_effectual_pj: float
    sram_pj: float
    dram_pj: float

    @property
    def on_chip_pj(self) -> float:
        """Compute, every PE clocked, and SRAM."""
        return self.compute_clocked_pj + self.sram_pj

    @property
    def total_pj(self) -> float:
        """All, every PE clocked."""
        return self.on_chip_pj + self.dram_pj

    @classmethod
    def total(cls, counts: list[EnergyCounts]) -> EnergyCounts:
        """The sum over layers."""
        return cls(*(sum(getattr(c, f.name) for c in counts) for f in fields(cls)))


@dataclass(frozen=True)
class Headline:
    """What a paper's abstract says of a design.

    Attributes
    ----------
    design : str
    speedup : float
    efficiency : float or None
        Energy efficiency.
    scope, source, reason : str
        Of what; where it stands; why another network gives something else.
    over : str
        The design it is compared with.
    layers : str
        "all", or the kind of layers it is of.
    """

    design: str
    speedup: float
    scope: str
    source: str
    reason: str
    efficiency: float | None = None
    over: str = "bit-parallel"
    layers: str = field(default="all")

    @property
    def power_ratio(self) -> float | None:
        """Power over that of the baseline, derived: speed-up / energy efficiency.

        Examples
        --------
        >>> [round(h.power_ratio, 2) for h in headlines("loom")]
        [1.24]
        """
        return None if self.efficiency is None else self.speedup / self.efficiency


def headlines(name: str | None = None) -> list[Headline]:
    """The papers' headlines, of one design or of all.

    Parameters
    ----------
    name : str, optional
        Of a design.

    Returns
    -------
    list of Headline
        Empty where a paper has none.

    Examples
    --------
    >>> [found.speedup for found in headlines("tartan")]
    [1.9]
    """
    found = [Headline(**entry) for entry in table("headlines")["headline"]]
    return [headline for headline in found if name in (None, headline.design)]
