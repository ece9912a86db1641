"""``fmtlib vectors``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fmtlib.accumulators import PRESETS
from fmtlib.formats import OVERFLOWS, ROUNDINGS
from fmtlib.options import FormatName, Json, any_of, format_names, number, print_json
from fmtlib.vectors.lfsr import LFSR
from fmtlib.vectors.modes import every_mode


def vectors(
    fmt: FormatName,
    *,
    op: Annotated[
        Literal["encode", "decode", "quantize", "bfp", "dot"],
        typer.Option(
            metavar="OP",
            help="What the circuit does: `encode`, `decode`, `quantize`, `bfp`, `dot`.",
        ),
    ],
    rounding: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            autocompletion=any_of(lambda: ROUNDINGS, several=True),
            help="Names with commas between; all if left out.",
        ),
    ] = None,
    overflow: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            autocompletion=any_of(lambda: OVERFLOWS, several=True),
            help="Names with commas between; all but `raise` if left out.",
        ),
    ] = None,
    dtype: Annotated[
        Literal["float32", "float16", "bfloat16", "float64"] | None,
        typer.Option(
            metavar="TYPE",
            help="Of the numbers that are no codes: `float32` (if left out), `float16`, `bfloat16` "
            "or `float64`; of a 16-bit one encode and quantize take all patterns.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", parser=number, help="Of the random inputs; 0 if left out."),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=number,
            help="Random inputs beside the corners; 1000 if left out.",
        ),
    ] = None,
    random_bits: Annotated[
        int | None,
        typer.Option(
            metavar="R",
            min=1,
            rich_help_panel="Noise of stochastic roundings",
            help="Bits of noise; 8 if left out.",
        ),
    ] = None,
    lfsr_width: Annotated[
        int | None,
        typer.Option(
            metavar="W",
            min=1,
            rich_help_panel="Noise of stochastic roundings",
            help="Bits of the LFSR that makes it; 16 if left out.",
        ),
    ] = None,
    lfsr_seed: Annotated[
        int | None,
        typer.Option(
            metavar="STATE",
            parser=number,
            rich_help_panel="Noise of stochastic roundings",
            help="Its first state.",
        ),
    ] = None,
    lfsr_steps: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            rich_help_panel="Noise of stochastic roundings",
            help="Its steps for each element; R if left out.",
        ),
    ] = None,
    format_b: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            autocompletion=format_names,
            rich_help_panel="Dot products",
            help="Format of the second operand; that of the first if left out.",
        ),
    ] = None,
    accumulator: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=any_of(lambda: PRESETS),
            rich_help_panel="Dot products",
            help="How products are added up; float32 if left out.",
        ),
    ] = None,
    terms: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            min=1,
            rich_help_panel="Dot products",
            help="Products in each; 16, or two blocks, if left out.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the folders.")] = Path(
        "vectors"
    ),
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
