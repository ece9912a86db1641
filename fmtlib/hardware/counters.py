"""Count layers on designs, and hand the results out as records, files, tables and plots."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from fmtlib.hardware import plots
from fmtlib.hardware.designs import Design, design
from fmtlib.hardware.designs.base import BIT_PARALLEL_PRODUCTS
from fmtlib.hardware.designs.dadiannao import DaDianNao
from fmtlib.hardware.energy import Energy, EnergyCounts
from fmtlib.hardware.layers import Layer
from fmtlib.hardware.memory import STORAGES, Memory, MemoryCounts, footprint
from fmtlib.hardware.report import BASELINE, Report, peak_remark
from fmtlib.hardware.tensors import Shape
from fmtlib.precision import width_statistics
from fmtlib.progress import check_progress, reporting
from fmtlib.tables import write_csv

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Counts:
    """The counts of one layer, or of all layers, on one design; they add up.

    Attributes
    ----------
    compute_cycles, baseline_cycles : int
        Cycles of the design and of the bit-parallel baseline.
    macs : int
        Multiply-accumulates.
    effectual_bit_products : int
        Bit products the design cannot avoid.
    own : dict of str to int
        Counts only this design has.
    total_cycles, baseline_total_cycles : int or None
        max(compute, memory) of each layer; None where no memory was given.
    traffic, baseline_traffic : MemoryCounts or None
    energy, baseline_energy : EnergyCounts or None
    """

    compute_cycles: int
    baseline_cycles: int
    macs: int
    effectual_bit_products: int
    own: dict[str, int] = field(default_factory=dict)
    total_cycles: int | None = None
    baseline_total_cycles: int | None = None
    traffic: MemoryCounts | None = None
    baseline_traffic: MemoryCounts | None = None
    energy: EnergyCounts | None = None
    baseline_energy: EnergyCounts | None = None

    @property
    def speedup(self) -> float:
        """Baseline cycles over cycles; infinite if nothing is left to do."""
        return self.baseline_cycles / self.compute_cycles if self.compute_cycles else math.inf

    @property
    def ideal_speedup(self) -> float:
        """256 bit products per MAC over the effectual ones; infinite if there are none."""
        products = self.effectual_bit_products
        return BIT_PARALLEL_PRODUCTS * self.macs / products if products else math.inf

    @classmethod
    def total(cls, counts: Sequence[Counts]) -> Counts:
        """The sum over layers."""
        totals = [c.total_cycles for c in counts if c.total_cycles is not None]
        baselines = [c.baseline_total_cycles for c in counts if c.baseline_total_cycles is not None]
        return cls(
            compute_cycles=sum(c.compute_cycles for c in counts),
            baseline_cycles=sum(c.baseline_cycles for c in counts),
            macs=sum(c.macs for c in counts),
            effectual_bit_products=sum(c.effectual_bit_products for c in counts),
            own={key: sum(c.own[key] for c in counts) for key in counts[0].own},
            total_cycles=sum(totals) if totals else None,
            baseline_total_cycles=sum(baselines) if baselines else None,
            traffic=_summed(MemoryCounts, [c.traffic for c in counts]),
            baseline_traffic=_summed(MemoryCounts, [c.baseline_traffic for c in counts]),
            energy=_summed(EnergyCounts, [c.energy for c in counts]),
            baseline_energy=_summed(EnergyCounts, [c.baseline_energy for c in counts]),
        )


def _summed(cls: Any, counts: list[Any]) -> Any:
    return cls.total(counts) if None not in counts else None


@dataclass(frozen=True)
class CountProgress:
    """How far `count` is.

    Attributes
    ----------
    done, total : int
        Pairs of a layer and a design.
    design, layer : str
        What was counted last.
    """

    done: int
    total: int
    design: str
    layer: str


def _shown(at: CountProgress) -> dict[str, Any]:
    return {"completed": at.done, "total": at.total, "description": f"{at.design}, {at.layer}"}


def baseline(item: Design) -> DaDianNao:
    """The baseline of a design: DaDianNao of one column, the same tiles and lanes, and its rows."""
    return DaDianNao(tiles=item.tiles, lanes=item.lanes, rows=item.baseline_rows)


def count(
    layers: Iterable[Layer],
    designs: Iterable[str | Design],
    *,
    memory: Memory | None = None,
    energy: Energy | None = None,
    progress: Callable[[CountProgress], object] | bool | None = None,
) -> CountResult:
    """Count the cycles and the work of layers on accelerators.

    Parameters
    ----------
    layers : iterable of Layer
    designs : iterable of str or Design
        A name means the design with its defaults; ``design(name, ...)`` gives any other.
    memory : Memory, optional
        The memories around the arrays. Without it only the array's cycles are counted.
    energy : Energy, optional
        How to compute energy; it takes a `memory`.
    progress : callable, bool or None
        Called with a `CountProgress` after each layer of each design; True for a bar on standard
        error (extra: count).

    Returns
    -------
    CountResult

    Raises
    ------
    TypeError
        Something other than layers or designs, or a single one outside a list.
    ValueError
        No layers, no designs, an unknown name; energy without memory; a constant of energy that
        is missing, by its name; values asked of a layer of shapes alone.

    Notes
    -----
    Traffic and energy are those of the forward pass.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Layer.conv(np.full((1, 16, 8, 8), 5), np.ones((16, 16, 3, 3), int))
    >>> result = count([layer], designs=["dadiannao", "stripes"])
    >>> for record in result.to_records():
    ...     if record["row"] == "total":
    ...         print(record["design"], record["compute_cycles"], record["baseline_cycles"])
    dadiannao 324 324
    stripes 81 324
    """
    if isinstance(layers, Layer):
        raise TypeError("layers must be a list of Layer; put the single layer in a list")
    if isinstance(designs, str | Design):
        raise TypeError("designs must be a list of names or designs; put the single one in a list")
    layers = tuple(layers)
    for layer in layers:
        if not isinstance(layer, Layer):
            raise TypeError(f"layers must be hardware.Layer objects, not {type(layer).__name__}")
    chosen = tuple(_as_design(item) for item in designs)
    if not layers or not chosen:
        raise ValueError(f"nothing to count: {len(layers)} layers and {len(chosen)} designs")
    _check_systems(memory, energy, progress)
    counts: list[tuple[Counts, ...]] = []
    bases: dict[DaDianNao, list[_Base]] = {}  # designs of one size share their baseline
    with reporting(progress, "counting", _shown) as report:
        for item in chosen:
            base = baseline(item)
            if base not in bases:
                bases[base] = [_base(layer, base, memory) for layer in layers]
            row = []
            for layer, known in zip(layers, bases[base], strict=True):
                row.append(_counts(layer, item, base, known, memory, energy))
                done = len(counts) * len(layers) + len(row)
                total = len(layers) * len(chosen)
                report(CountProgress(done, total, item.label, layer.name))
            counts.append(tuple(row))
    return CountResult(layers, chosen, tuple(counts), memory, energy)


def _check_systems(memory: Any, energy: Any, progress: object) -> None:
    check_progress(progress)
    if not (memory is None or isinstance(memory, Memory)):
        raise TypeError(f"memory must be a hardware.Memory, not {memory!r}")
    if not (energy is None or isinstance(energy, Energy)):
        raise TypeError(f"energy must be a hardware.Energy, not {energy!r}")
    if energy and not memory:
        raise ValueError("energy needs a memory: give memory=hardware.Memory(...) too")


@dataclass(frozen=True)
class _Base:
    """What the baseline does of a layer."""

    cycles: int
    traffic: MemoryCounts | None


def _base(layer: Layer, base: DaDianNao, memory: Memory | None) -> _Base:
    traffic = memory.of_design(layer, base, "raw") if memory else None
    return _Base(base.compute_cycles(layer), traffic)


def _counts(
    layer: Layer,
    item: Design,
    base: DaDianNao,
    known: _Base,
    memory: Memory | None,
    energy: Energy | None,
) -> Counts:
    counts = Counts(
        compute_cycles=item.compute_cycles(layer),
        baseline_cycles=known.cycles,
        macs=layer.macs,
        effectual_bit_products=item.effectual_bit_products(layer),
        own=item.own_counts(layer),
    )
    if memory is None or known.traffic is None:
        return counts
    traffic = memory.of_design(layer, item)
    counts = replace(
        counts,
        total_cycles=max(counts.compute_cycles, traffic.cycles),
        baseline_total_cycles=max(known.cycles, known.traffic.cycles),
        traffic=traffic,
        baseline_traffic=known.traffic,
    )
    if energy is None:
        return counts
    products = BIT_PARALLEL_PRODUCTS * layer.macs
    cycles, own = counts.compute_cycles, counts.effectual_bit_products
    return replace(
        counts,
        energy=_energy(energy, item, cycles, own, traffic, memory),
        baseline_energy=_energy(energy, base, known.cycles, products, known.traffic, memory),
    )


def _energy(energy: Energy, item: Design, *what: Any) -> EnergyCounts | None:
    """The energy of a layer on a design, unless that may be left out and must."""
    if energy.missing == "omit" and energy.lacking(item):
        return None
    return energy.count(item, *what)


def _as_design(item: Any) -> Design:
    if isinstance(item, Design):
        return item
    if isinstance(item, str):
        return design(item)
    raise TypeError(f"designs must be names or designs, not {item!r}")


@dataclass(frozen=True, eq=False)
class CountResult:
    """What `count` found.

    Attributes
    ----------
    layers : tuple of Layer
    designs : tuple of Design
    counts : tuple of tuples of Counts
        ``counts[i][j]`` is design i on layer j.
    memory : Memory or None
    energy : Energy or None
        What was given to `count`.
    """

    layers: tuple[Layer, ...]
    designs: tuple[Design, ...]
    counts: tuple[tuple[Counts, ...], ...]
    memory: Memory | None = None
    energy: Energy | None = None

    def to_records(self) -> list[dict[str, Any]]:
        """One dict per design and layer, then one ``row="total"`` per design, all of equal keys.

        Returns
        -------
        list of dict
            ``row`` ("layer" or "total"), ``layer``, ``kind``, ``design``, ``label`` (the name with
            what differs from its defaults), ``array``; the parameters of the
            designs by their names (None where a design has no such parameter);
            ``peak_bit_products_per_cycle`` of the design and of the baseline;
            ``compute_cycles``, ``baseline_cycles`` (DaDianNao of the same tiles, lanes and rows)
            and their ratio ``speedup``, None without any; ``macs``, ``effectual_bit_products`` and
            ``ideal_speedup`` = 256·macs / effectual_bit_products, None without any;
            ``activation_bits``, ``weight_bits``, ``space_to_depth`` (None in totals); counts
            only some designs have,
            such as ``fmac_passes``. Counts are Python integers, of any size.

            ``utilization`` is effectual_bit_products / (compute_cycles · peak);
            ``baseline_utilization`` macs / (baseline_cycles · the baseline's multipliers), which
            is below 1 where channels or filters do not fill the array.

            With a memory, `Memory` tells the rules: ``activation_raw_bits`` and so on, what the
            tensors take in each kind of storage (None where only shapes are known), metadata
            apart; ``dram_activation_write_bits``, ``dram_activation_read_bits``,
            ``dram_weight_read_bits``, their sum ``dram_bits``, ``dram_metadata_bits`` of it,
            ``sram_bits``; ``memory_cycles``, ``stall_cycles``, ``total_cycles``; of the baseline
            ``baseline_dram_bits``, ``baseline_memory_cycles``, ``baseline_total_cycles``;
            ``total_speedup``, the ratio of total cycles.

            With energy, `Energy` tells the rules: ``compute_clocked_pj``,
            ``compute_effectual_pj``, ``sram_pj``, ``dram_pj``, ``total_pj``,
            ``baseline_total_pj`` (every PE clocked); ``energy_efficiency`` = baseline / design,
            ``on_chip_efficiency`` the same without DRAM, ``compute_efficiency`` without SRAM too;
            ``power_ratio`` = speedup / on_chip_efficiency, the power of the chip over that of the
            baseline. None for a design that lacks a constant, with ``missing="omit"``.

        Notes
        -----
        Totals are sums, and the total speed-up is a ratio of sums. Compare designs only at equal
        peaks. At equal peaks the ideal bounds the speed-up where channels fill the lanes (idle
        lanes cost the baseline most) and widths are trimmed at the leading end only.
        """
        parameters = _merged(d.parameters for d in self.designs)
        own = _merged(counts[0].own for counts in self.counts)
        records = []
        for item, counts in zip(self.designs, self.counts, strict=True):
            for layer, c in zip((*self.layers, None), (*counts, Counts.total(counts)), strict=True):
                records.append(
                    {
                        "row": "layer" if layer else "total",
                        "layer": layer.name if layer else "total",
                        "kind": layer.kind if layer else None,
                        "design": item.name,
                        "label": item.label,
                        "array": item.array,
                        **parameters,
                        **item.parameters,
                        **_array_columns(item, c),
                        "activation_bits": layer.activation_bits if layer else None,
                        "weight_bits": layer.weight_bits if layer else None,
                        "space_to_depth": layer.space_to_depth if layer else None,
                        **(self._memory_columns(layer, c) if self.memory else {}),
                        **(_energy_columns(c) if self.energy else {}),
                        **own,
                        **c.own,
                    }
                )
        return records

    def _memory_columns(self, layer: Layer | None, c: Counts) -> dict[str, Any]:
        assert self.memory
        assert c.traffic
        assert c.baseline_traffic
        assert c.total_cycles is not None
        assert c.baseline_total_cycles is not None
        columns: dict[str, Any] = self._footprints(layer)
        return columns | {
            "dram_activation_write_bits": c.traffic.activation_write_bits,
            "dram_activation_read_bits": c.traffic.activation_read_bits,
            "dram_weight_read_bits": c.traffic.weight_read_bits,
            "dram_bits": c.traffic.dram_bits,
            "dram_metadata_bits": c.traffic.metadata_bits,
            "sram_bits": c.traffic.sram_bits,
            "memory_cycles": c.traffic.cycles,
            "stall_cycles": c.total_cycles - c.compute_cycles,
            "total_cycles": c.total_cycles,
            "baseline_dram_bits": c.baseline_traffic.dram_bits,
            "baseline_memory_cycles": c.baseline_traffic.cycles,
            "baseline_total_cycles": c.baseline_total_cycles,
            "total_speedup": _ratio(c.baseline_total_cycles, c.total_cycles),
        }

    def _footprints(self, layer: Layer | None) -> dict[str, int | None]:
        """What tensors take in each kind of storage; of all layers if there is none."""
        assert self.memory
        columns: dict[str, int | None] = {}
        for operand in ("activations", "weights"):
            for storage in STORAGES:
                found = [
                    footprint(one, operand, storage, self.memory.group_size)
                    for one in ([layer] if layer else self.layers)
                    if storage in ("raw", "profiled")
                    or not isinstance(getattr(one, operand), Shape)
                ]
                whole = len(found) == (1 if layer else len(self.layers))
                name = f"{operand[:-1]}_{storage}"
                columns[f"{name}_bits"] = sum(f.bits for f in found) if whole else None
                if storage == "dpred":
                    metadata = sum(f.metadata_bits for f in found)
                    columns[f"{name}_metadata_bits"] = metadata if whole else None
        return columns

    def report(self, network: str = "network") -> Report:
        """The result as a report of one network; `Report.of` makes one of several."""
        return Report.of({network: self})

    def width_histograms(self, group_size: int = 16) -> list[dict[str, Any]]:
        """How many groups of values along the channels need how many bits, layer by layer.

        Parameters
        ----------
        group_size : int

        Returns
        -------
        list of dict
            ``layer``, ``operand`` ("activations" or "weights"), ``group_size`` and ``groups``:
            of so many bits, from 0, so many groups. Nothing for shapes alone.
        """
        operands: tuple[Literal["activations", "weights"], ...] = ("activations", "weights")
        return [
            {
                "layer": layer.name,
                "operand": operand,
                "group_size": group_size,
                "groups": list(
                    width_statistics(
                        tensor, group_size, axis=1, signed=bool((tensor < 0).any())
                    ).histogram
                ),
            }
            for layer in self.layers
            for operand in operands
            if not isinstance(tensor := getattr(layer, operand), Shape)
        ]

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the records as CSV, UTF-8, a header first; None is an empty field.

        The file appears whole or not at all. OSError if it cannot be written.
        """
        write_csv(self.to_records(), path)

    def to_json(self, path: str | os.PathLike[str], network: str = "network") -> None:
        """Write a report of this network as JSON, which `Report.load` reads.

        The file appears whole or not at all. OSError if it cannot be written.
        """
        self.report(network).to_json(path)

    def to_html(self, path: str | os.PathLike[str], network: str = "network") -> None:
        """Write a report of this network as one page of HTML (extra: count).

        The file appears whole or not at all. OSError if it cannot be written.
        """
        self.report(network).to_html(path)

    def to_markdown(self) -> str:
        """The main columns as a Markdown table.

        Examples
        --------
        >>> import numpy as np
        >>> layer = Layer.linear(np.full((1, 32), 5), np.ones((16, 32), int))
        >>> print(count([layer], designs=["stripes"]).to_markdown().splitlines()[0])
        | layer | design | array | compute cycles | baseline cycles | speed-up (×) | ideal (×) |
        """
        titles = ("layer", "design", "array", "compute cycles", "baseline cycles")
        table = [
            (*titles, "speed-up (×)", "ideal (×)"),
            ("---", "---", "---", "---:", "---:", "---:", "---:"),
        ]
        for item, counts in zip(self.designs, self.counts, strict=True):
            names = [layer.name for layer in self.layers] + ["**total**"]
            for name, c in zip(names, (*counts, Counts.total(counts)), strict=True):
                table.append(
                    (
                        " ".join(name.replace("|", "\\|").split()),
                        item.label,
                        item.array,
                        f"{c.compute_cycles:,}",
                        f"{c.baseline_cycles:,}",
                        f"{c.speedup:.3f}",
                        f"{c.ideal_speedup:.3f}",
                    )
                )
        lines = [f"| {' | '.join(row)} |" for row in table]
        return "\n".join([*lines, "", *self._remarks()]) + "\n"

    def _remarks(self) -> list[str]:
        """What a reader of the table must know: the baseline, and unequal peaks."""
        remarks = [BASELINE]
        for item in self.designs:
            peaks = item.peak_bit_products_per_cycle, baseline(item).peak_bit_products_per_cycle
            if remark := peak_remark(item.label, item.array, *peaks):
                remarks.append(remark)
        return list(dict.fromkeys(remarks))

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw the speed-ups, layer by layer and in total.

        As bars, or, of more than five designs, as a table of colours without totals.

        Parameters
        ----------
        path : str or PathLike, optional
            Where to save it too, whole or not at all; the suffix gives the format.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ImportError
            Matplotlib is missing: install ``fmtlib[count]``.
        ValueError
            A suffix Matplotlib cannot write.
        """
        figure = plots.layer_bars(self.to_records(), BASELINE)
        if path is not None:
            plots.save(figure, path)
        return figure


def _array_columns(item: Design, c: Counts) -> dict[str, Any]:
    base = baseline(item)
    peak = item.peak_bit_products_per_cycle
    return {
        "peak_bit_products_per_cycle": peak,
        "baseline_peak_bit_products_per_cycle": base.peak_bit_products_per_cycle,
        "compute_cycles": c.compute_cycles,
        "baseline_cycles": c.baseline_cycles,
        "speedup": c.speedup if c.compute_cycles else None,
        "macs": c.macs,
        "effectual_bit_products": c.effectual_bit_products,
        "ideal_speedup": c.ideal_speedup if c.effectual_bit_products else None,
        "utilization": _ratio(c.effectual_bit_products, c.compute_cycles * peak),
        "baseline_utilization": c.macs / (c.baseline_cycles * base.multipliers),
    }


def _energy_columns(c: Counts) -> dict[str, float | None]:
    names = ("compute_clocked_pj", "compute_effectual_pj", "sram_pj", "dram_pj", "total_pj")
    base = c.baseline_energy
    columns = {name: getattr(c.energy, name) if c.energy else None for name in names}
    columns["baseline_total_pj"] = base.total_pj if base else None
    if c.energy is None or base is None:
        ratios = ("energy_efficiency", "on_chip_efficiency", "compute_efficiency", "power_ratio")
        return columns | dict.fromkeys(ratios)
    on_chip = _ratio(base.on_chip_pj, c.energy.on_chip_pj)
    compute = _ratio(base.compute_clocked_pj, c.energy.compute_clocked_pj)
    return columns | {
        "energy_efficiency": _ratio(base.total_pj, c.energy.total_pj),
        "on_chip_efficiency": on_chip,
        "compute_efficiency": compute,
        "power_ratio": c.speedup / on_chip if on_chip and c.compute_cycles else None,
    }


def _ratio(a: float, b: float) -> float | None:
    """None where there is nothing to divide by."""
    return a / b if b else None


def _merged(dicts: Iterable[dict[str, Any]]) -> dict[str, None]:
    """The keys of all dicts, in order, each with None."""
    return {key: None for d in dicts for key in d}
