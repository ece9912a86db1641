"""``fmtlib vectors``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fmtlib.accumulators import PRESETS
from fmtlib.formats import OVERFLOWS, ROUNDINGS
from fmtlib.options import FormatName, Json, format_names, number, option, print_json
from fmtlib.vectors.lfsr import LFSR
from fmtlib.vectors.modes import OPERATIONS, every_mode
from fmtlib.vectors.words import FIELDS

_NOISE, _DOTS = "Noise of stochastic roundings", "Dot products"  # groups of the options

_Op = Annotated[
    str,
    option(
        "What the circuit does: `encode`, `decode`, `quantize`, `bfp` or `dot`.",
        metavar="OP", names=lambda: OPERATIONS,
    ),
]  # fmt: skip
_Roundings = Annotated[
    str | None,
    option(
        "Names with commas between; all if left out.",
        metavar="NAMES", names=lambda: ROUNDINGS, several=True,
    ),
]  # fmt: skip
_Overflows = Annotated[
    str | None,
    option(
        "Names with commas between; all but `raise` if left out.",
        metavar="NAMES", names=lambda: OVERFLOWS, several=True,
    ),
]  # fmt: skip
_Dtype = Annotated[
    str | None,
    option(
        "Of the numbers that are no codes: `float32` (if left out), `float16`, `bfloat16` or "
        "`float64`; of a 16-bit one encode and quantize take all patterns.",
        metavar="TYPE", names=lambda: FIELDS,
    ),
]  # fmt: skip
_Count = Annotated[
    int | None,
    option("Random inputs beside the corners; 1000 if left out.", metavar="N", parser=number),
]
_LfsrWidth = Annotated[
    int | None,
    option("Bits of the LFSR that makes it; 16 if left out.", metavar="W", panel=_NOISE, min=1),
]
_FormatB = Annotated[
    str | None,
    option(
        "Of the second operand; that of the first if left out.",
        metavar="FORMAT", panel=_DOTS, names=format_names,
    ),
]  # fmt: skip
_Accumulator = Annotated[
    str | None,
    option(
        "How products are added up; float32 if left out.",
        metavar="NAME", panel=_DOTS, names=lambda: PRESETS,
    ),
]  # fmt: skip
_Terms = Annotated[
    int | None,
    option("Products in each; 16, or two blocks, if left out.", metavar="K", panel=_DOTS, min=1),
]


def vectors(
    fmt: FormatName,
    *,
    op: _Op,
    rounding: _Roundings = None,
    overflow: _Overflows = None,
    dtype: _Dtype = None,
    seed: Annotated[
        int | None, option("Of the random inputs; 0 if left out.", metavar="N", parser=number)
    ] = None,
    count: _Count = None,
    random_bits: Annotated[
        int | None, option("Bits of noise; 8 if left out.", metavar="R", panel=_NOISE, min=1)
    ] = None,
    lfsr_width: _LfsrWidth = None,
    lfsr_seed: Annotated[
        int | None, option("Its first state.", metavar="STATE", panel=_NOISE, parser=number)
    ] = None,
    lfsr_steps: Annotated[
        int | None,
        option("Its steps for each element; R if left out.", metavar="N", panel=_NOISE, min=1),
    ] = None,
    format_b: _FormatB = None,
    accumulator: _Accumulator = None,
    terms: _Terms = None,
    out: Annotated[Path, option("Folder for the folders.", metavar="DIR")] = Path("vectors"),
    json: Json = False,
) -> None:
    """Write test vectors for RTL: inputs and expected codes.

    For a circuit that encodes, decodes, quantises, converts blocks or adds up products: hex files
    for `$readmemh`, CSV and a manifest, in one folder for each rounding and overflow. The same
    arguments give the same files.

    `--json` prints a list with the manifest of each set, and its `folder`.

    Examples
    --------
    $ fmtlib vectors e4m3 --op encode --rounding nearest_even --out vectors
    $ fmtlib vectors bfp_m4_e8_g16 --op bfp --rounding stochastic --lfsr-seed 0x1d
    $ fmtlib vectors e4m3 --op dot --format-b e5m2 --accumulator hopper --json
    """
    lfsr = {"width": lfsr_width, "seed": lfsr_seed, "steps": lfsr_steps}
    noise: dict[str, Any] = {name: value for name, value in lfsr.items() if value is not None}
    given = {
        "roundings": rounding and rounding.split(","),
        "overflows": overflow and overflow.split(","),
        "dtype": dtype, "random_bits": random_bits, "lfsr": LFSR(**noise) if noise else None,
        "b": format_b, "accumulator": accumulator, "terms": terms, "seed": seed, "count": count,
    }  # fmt: skip
    arguments = {name: value for name, value in given.items() if value is not None}
    made = []
    for one in every_mode(fmt, op, **arguments):  # type: ignore[arg-type]
        folder = one.write(out / one.name)
        made.append({"folder": str(folder), **one.manifest()})
        if not json:
            print(f"{folder}: {len(one)} vectors")
    if json:
        print_json(made)
