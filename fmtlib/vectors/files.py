"""A set of test vectors, and its files: hex words for ``$readmemh``, CSV, a manifest."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

import fmtlib as fl
from fmtlib.files import replaced
from fmtlib.vectors.words import FIELDS, Words, values_of


class Column(NamedTuple):
    """One input or output of the circuit.

    Attributes
    ----------
    words : ndarray of uint64
        Shape (rows,), or (rows, k) where a row has k of them.
    bits : int
        Width of a word.
    role : {"input", "expected"}
    type : str
        What a word is: the name of a format or of a NumPy type, or "noise".
    values : ndarray of float64, optional
        The numbers that the words mean, for the reader of the CSV file.
    """

    words: Words
    bits: int
    role: Literal["input", "expected"]
    type: str
    values: NDArray[np.float64] | None = None

    @property
    def words_per_row(self) -> int:
        """Words of a row."""
        return self.words.shape[1] if self.words.ndim > 1 else 1

    def hexadecimal(self) -> list[str]:
        """All words, row by row."""
        digits = -(-self.bits // 4)
        return [f"{word:0{digits}x}" for word in self.words.ravel().tolist()]


def number_column(bits: Words, dtype: str, role: Literal["input", "expected"]) -> Column:
    """Bits of a type as a column, with the numbers that they mean."""
    with np.errstate(invalid="ignore"):  # signalling NaN
        values = values_of(bits, dtype).astype(np.float64)
    return Column(bits, 1 + sum(FIELDS[dtype]), role, dtype, values)


@dataclass(frozen=True)
class Vectors:
    """A set of test vectors.

    Attributes
    ----------
    name : str
        Format, operation and modes, fit for the name of a folder.
    facts : mapping of str to anything
        What the manifest says besides the columns.
    columns : mapping of str to Column
        Inputs and expected outputs by name, with equally many rows.
    """

    name: str
    facts: Mapping[str, Any]
    columns: Mapping[str, Column]

    def __repr__(self) -> str:
        return f"Vectors({self.name!r}, {len(self)} rows of {', '.join(self.columns)})"

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())).words)

    def write(self, folder: str | os.PathLike[str]) -> Path:
        """Write the set to a folder; each file is replaced whole, the manifest last.

        Of each column there is ``<column>.hex``, one word a line, for ``$readmemh``; all columns
        are in ``vectors.csv`` (hexadecimal; the words of a row with spaces between, the first one
        first); ``vectors.vh`` has the number of rows and the widths as Verilog's localparams;
        ``manifest.json`` says all of it.

        Parameters
        ----------
        folder : str or PathLike
            Made if it is not there.

        Returns
        -------
        Path
            The folder.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, column in self.columns.items():
            _write(folder / f"{name}.hex", "".join(f"{word}\n" for word in column.hexadecimal()))
        _write(folder / "vectors.csv", self._csv())
        _write(folder / "vectors.vh", self._header())
        _write(folder / "manifest.json", json.dumps(self.manifest(), indent=2) + "\n")
        return folder

    def manifest(self) -> dict[str, Any]:
        """Everything that is known of the set, for JSON."""
        columns = {
            name: {
                "file": f"{name}.hex",
                "role": column.role,
                "type": column.type,
                "bits": column.bits,
                "words_per_row": column.words_per_row,
            }
            for name, column in self.columns.items()
        }
        made_by = f"fmtlib {fl.__version__}"
        return {"made_by": made_by, **self.facts, "rows": len(self), "columns": columns}

    def _csv(self) -> str:
        cells: dict[str, list[Any]] = {}
        for name, column in self.columns.items():
            words, k = column.hexadecimal(), column.words_per_row
            cells[name] = [" ".join(words[i : i + k]) for i in range(0, len(words), k)]
            if column.values is not None:
                cells[f"{name}_value"] = column.values.tolist()
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(cells)
        writer.writerows(zip(*cells.values(), strict=True))
        return text.getvalue()

    def _header(self) -> str:
        lines = [f"// {self.name}", f"localparam ROWS = {len(self)};"]
        for name, column in self.columns.items():
            lines.append(f"localparam {name.upper()}_BITS = {column.bits};")
            if column.words.ndim > 1:
                lines.append(f"localparam {name.upper()}_PER_ROW = {column.words_per_row};")
        if "random_bits" in self.facts:
            lfsr = self.facts["lfsr"]
            taps = sum(1 << (tap - 1) for tap in lfsr["taps"])
            lines += [
                f"localparam LFSR_WIDTH = {lfsr['width']};",
                f"localparam LFSR_SEED = 'h{lfsr['seed']:x};",
                f"localparam LFSR_TAPS = 'h{taps:x};",
                f"localparam LFSR_STEPS = {lfsr['steps_per_element']};",
            ]
        return "\n".join(lines) + "\n"


def _write(path: Path, text: str) -> None:
    with replaced(path) as temporary:
        temporary.write_bytes(text.encode("ascii"))
