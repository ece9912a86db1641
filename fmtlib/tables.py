"""Records of equal keys as files of tables, and where tables are printed."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmtlib.files import replaced

if TYPE_CHECKING:
    from rich.console import Console


def finite(value: Any) -> Any:
    """The value, or None for a float that JSON and tables do not know.

    Examples
    --------
    >>> finite(0.5), finite(float("nan")), finite("nan")
    (0.5, None, 'nan')
    """
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_csv(records: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> None:
    """Write records as CSV, UTF-8, a header first, None as nothing; whole or not at all."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    with replaced(path) as temporary:
        temporary.write_bytes(text.getvalue().encode())


def write_table(records: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> None:
    """Write records as the suffix says: ``.csv`` or ``.parquet``; whole or not at all.

    Parameters
    ----------
    records : sequence of dict
        Of equal keys, one at least.
    path : path
        CSV is as of `write_csv`. Parquet needs pyarrow.

    Raises
    ------
    ValueError
        If there are no records, or the suffix is another.
    ImportError
        If it is ``.parquet`` and pyarrow is missing.
    """
    if not records:
        raise ValueError("a table needs one record at least")
    suffix = Path(path).suffix
    if suffix == ".csv":
        write_csv(records, path)
    elif suffix == ".parquet":
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            raise ImportError("Parquet files need pyarrow: pip install pyarrow") from error
        with replaced(path) as temporary:
            parquet.write_table(pyarrow.Table.from_pylist(list(map(dict, records))), temporary)
    else:
        raise ValueError(f"a table is written as .csv or .parquet, got {str(path)!r}")


def console() -> Console:
    """Where tables go (extra: rich); wide enough for them where nobody looks."""
    from rich.console import Console

    shown = Console(highlight=False)
    return shown if shown.is_terminal else Console(highlight=False, width=200)
