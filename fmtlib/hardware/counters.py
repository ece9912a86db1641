"""Count layers on designs, and hand the results out as records, files, tables and plots."""

import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fmtlib.files import replaced
from fmtlib.hardware.designs import Design, design
from fmtlib.hardware.designs.base import BIT_PARALLEL_PRODUCTS
from fmtlib.hardware.designs.dadiannao import DaDianNao
from fmtlib.hardware.layers import Layer

_BASELINE = "Baseline: DaDianNao of the same tiles, lanes and rows, one column."


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
    """

    compute_cycles: int
    baseline_cycles: int
    macs: int
    effectual_bit_products: int
    own: dict[str, int] = field(default_factory=dict)

    @property
    def speedup(self) -> float:
        """Baseline cycles over cycles."""
        return self.baseline_cycles / self.compute_cycles

    @property
    def ideal_speedup(self) -> float:
        """256 bit products per MAC over the effectual ones."""
        return BIT_PARALLEL_PRODUCTS * self.macs / self.effectual_bit_products

    @classmethod
    def total(cls, counts: Sequence["Counts"]) -> "Counts":
        """The sum over layers."""
        return cls(
            compute_cycles=sum(c.compute_cycles for c in counts),
            baseline_cycles=sum(c.baseline_cycles for c in counts),
            macs=sum(c.macs for c in counts),
            effectual_bit_products=sum(c.effectual_bit_products for c in counts),
            own={key: sum(c.own[key] for c in counts) for key in counts[0].own},
        )


def baseline(item: Design) -> DaDianNao:
    """The baseline of a design: DaDianNao of one column, the same tiles and lanes, and its rows."""
    return DaDianNao(tiles=item.tiles, lanes=item.lanes, rows=item.baseline_rows)


def _peak_ratio(item: Design) -> float:
    return item.peak_bit_products_per_cycle / baseline(item).peak_bit_products_per_cycle


def count(layers: Iterable[Layer], designs: Iterable[str | Design]) -> "CountResult":
    """Count the cycles and the work of layers on accelerators.

    Parameters
    ----------
    layers : iterable of Layer
    designs : iterable of str or Design
        A name means the design with its defaults; `design(name, ...)` gives any other.

    Returns
    -------
    CountResult

    Raises
    ------
    TypeError
        Something other than layers or designs, or a single one outside a list.
    ValueError
        No layers, no designs, an unknown name.

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
    counts = []
    baselines: dict[DaDianNao, list[int]] = {}  # designs of one size share their baseline
    for item in chosen:
        base = baseline(item)
        if base not in baselines:
            baselines[base] = [base.compute_cycles(layer) for layer in layers]
        counts.append(
            tuple(
                Counts(
                    compute_cycles=item.compute_cycles(layer),
                    baseline_cycles=cycles,
                    macs=layer.macs,
                    effectual_bit_products=item.effectual_bit_products(layer),
                    own=item.own_counts(layer),
                )
                for layer, cycles in zip(layers, baselines[base], strict=True)
            )
        )
    return CountResult(layers=layers, designs=chosen, counts=tuple(counts))


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
    """

    layers: tuple[Layer, ...]
    designs: tuple[Design, ...]
    counts: tuple[tuple[Counts, ...], ...]

    def to_records(self) -> list[dict[str, Any]]:
        """One dict per design and layer, then one ``row="total"`` per design, all of equal keys.

        Returns
        -------
        list of dict
            ``row`` ("layer" or "total"), ``layer``, ``design``, ``array``; the parameters of the
            designs by their names (None where a design has no such parameter);
            ``peak_bit_products_per_cycle`` of the design and of the baseline;
            ``compute_cycles``, ``baseline_cycles`` (DaDianNao of the same tiles, lanes and rows)
            and their ratio ``speedup``; ``macs``, ``effectual_bit_products`` and
            ``ideal_speedup`` = 256·macs / effectual_bit_products; ``activation_bits``,
            ``weight_bits``, ``space_to_depth`` (None in totals); counts only some designs have,
            such as ``fmac_passes``. Counts are Python integers, of any size.

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
                        "design": item.name,
                        "array": item.array,
                        **parameters,
                        **item.parameters,
                        "peak_bit_products_per_cycle": item.peak_bit_products_per_cycle,
                        "baseline_peak_bit_products_per_cycle": baseline(
                            item
                        ).peak_bit_products_per_cycle,
                        "compute_cycles": c.compute_cycles,
                        "baseline_cycles": c.baseline_cycles,
                        "speedup": c.speedup,
                        "macs": c.macs,
                        "effectual_bit_products": c.effectual_bit_products,
                        "ideal_speedup": c.ideal_speedup,
                        "activation_bits": layer.activation_bits if layer else None,
                        "weight_bits": layer.weight_bits if layer else None,
                        "space_to_depth": layer.space_to_depth if layer else None,
                        **own,
                        **c.own,
                    }
                )
        return records

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the records as CSV, UTF-8, a header first; None is an empty field.

        The file appears whole or not at all. OSError if it cannot be written.
        """
        records = self.to_records()
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, fieldnames=list(records[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
        with replaced(path) as temporary:
            temporary.write_bytes(text.getvalue().encode())

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write the records as a JSON list, UTF-8; whole or not at all, as `to_csv`."""
        text = json.dumps(self.to_records(), indent=1, ensure_ascii=False) + "\n"
        with replaced(path) as temporary:
            temporary.write_bytes(text.encode())

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
        remarks = [_BASELINE]
        for item in self.designs:
            ratio = _peak_ratio(item)
            if ratio != 1:
                remarks.append(
                    f"{item.label}, {item.array}: {ratio:g} times the peak of its baseline, "
                    "not an equal comparison."
                )
        return list(dict.fromkeys(remarks))

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the speed-ups, per layer and in total, as bars; the suffix gives the file format.

        The file appears whole or not at all.

        Raises
        ------
        ImportError
            Matplotlib is missing: install ``fmtlib[demo]``.
        ValueError
            A suffix Matplotlib cannot write.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError("plot needs Matplotlib: pip install 'fmtlib[demo]'") from error
        file_format = Path(path).suffix[1:]
        names = [*(layer.name for layer in self.layers), "total"]
        width = 0.8 / len(self.designs)
        size = (max(7.0, 1.0 + len(names)), 4.5 + 0.25 * len(self.designs))
        figure = Figure(figsize=size, layout="constrained")
        supported = sorted(figure.canvas.get_supported_filetypes())
        if file_format not in supported:
            raise ValueError(
                f"the file name must end in one of {', '.join('.' + s for s in supported)}, "
                f"not {str(path)!r}"
            )
        axes = figure.add_subplot()
        for i, (item, counts) in enumerate(zip(self.designs, self.counts, strict=True)):
            bars = [c.speedup for c in (*counts, Counts.total(counts))]
            offset = (i - (len(self.designs) - 1) / 2) * width
            positions = [p + offset for p in range(len(names))]
            ratio = _peak_ratio(item)
            unequal = "" if ratio == 1 else f" ({ratio:g} × the baseline's peak)"
            drawn = axes.bar(positions, bars, width, label=f"{item.label}: {item.array}{unequal}")
            axes.bar_label(drawn, fmt="%.1f", fontsize="xx-small")
        axes.axhline(1, color="black", linewidth=0.8)
        axes.set_yscale("log", base=2)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
        axes.set_xlabel("Layer")
        axes.set_ylabel("Speed-up over DaDianNao (×, in cycles)")
        axes.set_title(_BASELINE, fontsize="small")
        figure.legend(loc="outside lower center", fontsize="small")
        with replaced(path) as temporary:
            figure.savefig(temporary, format=file_format)


def _merged(dicts: Iterable[dict[str, Any]]) -> dict[str, None]:
    """The keys of all dicts, in order, each with None."""
    return {key: None for d in dicts for key in d}
