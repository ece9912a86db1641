"""``fmtlib count``: trace, count, report."""

from __future__ import annotations

import io
import math
import struct
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from fmtlib.choices import split_choice
from fmtlib.files import load, load_array
from fmtlib.hardware import counters
from fmtlib.hardware.designs import Design, design, design_names
from fmtlib.hardware.energy import ENERGY_TABLES, Energy
from fmtlib.hardware.memory import STORAGES, Memory
from fmtlib.hardware.report import Report
from fmtlib.hardware.trace import Trace, trace
from fmtlib.options import Json, Quiet, option, progress
from fmtlib.tables import console

Floats = NDArray[np.float32]

_ARRAYS = (".npy", ".npz")

# Groups of the options.
_OF_INPUTS, _OF_ARRAY, _OF_MEMORY = "Inputs", "Accelerators", "Memory and energy"


_Inputs = Annotated[
    list[Path] | None,
    option(
        "The same as INPUT, and before those.",
        "--input",
        metavar="FILE",
        panel=_OF_INPUTS,
        show_default=False,
    ),
]
_Mean = Annotated[
    str,
    option("Of a photograph's channels, pixels from 0 to 1.", metavar="M[,M,M]", panel=_OF_INPUTS),
]
_Deviation = Annotated[
    str, option("The model gets (pixel − M) / D.", metavar="D[,D,D]", panel=_OF_INPUTS)
]
_Bits = Annotated[
    int | None,
    option(
        "Round activations and weights to N bits, 2 to 16; if left out 16, and the widths that the "
        "tensors then need.",
        metavar="N", panel=_OF_INPUTS, min=1,
    ),
]  # fmt: skip
_Designs = Annotated[
    str,
    option(
        "`all`, or designs with commas between, parameters after colons: "
        "`stripes,loom:serial_bits=2`; one of your own as `module.Class`.",
        metavar="NAMES", panel=_OF_ARRAY, names=lambda: ["all", *design_names()], several=True,
    ),
]  # fmt: skip
_Storage = Annotated[
    str,
    option(
        "How tensors are stored: `raw`, `profiled`, `dpred` or `shapeshifter`.",
        metavar="KIND", panel=_OF_MEMORY, names=lambda: STORAGES,
    ),
]  # fmt: skip
_Energy = Annotated[
    str,
    option(
        "Constants: `estimates_45nm`, `horowitz_45nm` or `none`; designs of which one is missing "
        "go without.",
        metavar="TABLE", panel=_OF_MEMORY, names=lambda: ["none", *ENERGY_TABLES],
    ),
]  # fmt: skip


def _size(name: str) -> Any:
    says = f"{name.capitalize()} of every array; each design's own if left out."
    return option(says, metavar="N", panel=_OF_ARRAY, min=1)


def _amount(says: str) -> Any:
    return option(says, metavar="N", panel=_OF_MEMORY, min=1)


def count(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="An ONNX file.", show_default=False)
    ],
    more: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="INPUT",
            show_default=False,
            help="Photographs, which are resized to the model's input, or .npy: a batch together; "
            "or one .npz with an array for each input.",
        ),
    ] = None,
    *,
    inputs: _Inputs = None,
    mean: _Mean = "0",
    deviation: _Deviation = "1",
    bits: _Bits = None,
    designs: _Designs = "all",
    tiles: Annotated[int | None, _size("tiles")] = None,
    lanes: Annotated[int | None, _size("lanes")] = None,
    columns: Annotated[int | None, _size("columns")] = None,
    rows: Annotated[int | None, _size("rows")] = None,
    storage: _Storage = "dpred",
    group_size: Annotated[int, _amount("Values per group.")] = 16,
    activation_bytes: Annotated[int, _amount("On-chip memory of activations.")] = 2 << 20,
    weight_bytes: Annotated[int, _amount("On-chip memory of weights.")] = 2 << 20,
    dram_megabytes_per_second: Annotated[int, _amount("Bandwidth of DRAM.")] = 12_800,
    clock_megahertz: Annotated[int, _amount("Clock of the array.")] = 1_000,
    energy: _Energy = "estimates_45nm",
    out: Annotated[Path | None, option("Folder for the report.", metavar="DIR")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Count a network's cycles, traffic and energy on accelerators.

    Runs an ONNX model on real inputs; counts the cycles, the work, the traffic and the energy of
    its layers; prints a table, and writes a report into `--out`: an HTML page, Markdown, CSV, JSON
    and plots.

    `--json` prints the report's `report.json`: `records`, one for each layer and design, with
    units in the names of columns, `histograms`, `memory` and `energy`.

    It takes the extra: `pip install "fmtlib[count]"`.

    Examples
    --------
    $ fmtlib count model.onnx photo.jpg --out report
    $ fmtlib count model.onnx --input batch.npy --designs stripes,loom:serial_bits=2 --bits 8
    $ fmtlib count model.onnx photo.jpg --designs stripes,my_designs.Chunks:chunk_bits=2
    $ fmtlib count model.onnx photo.jpg --mean 0.485,0.456,0.406 --deviation 0.229,0.224,0.225
    $ fmtlib count model.onnx inputs.npz --storage raw --energy none --json
    """
    files = [*(inputs or ()), *(more or ())]
    if not files:
        raise typer.BadParameter("give the model's input", param_hint="INPUT")
    memory = Memory(
        storage=storage,  # type: ignore[arg-type]  # which it checks
        group_size=group_size, activation_bytes=activation_bytes,
        weight_bytes=weight_bytes, dram_megabytes_per_second=dram_megabytes_per_second,
        clock_megahertz=clock_megahertz,
    )  # fmt: skip
    run(
        str(model), list(map(str, files)), designs=designs, out=out, json=json,
        array={"tiles": tiles, "lanes": lanes, "columns": columns, "rows": rows}, memory=memory,
        energy=None if energy == "none" else Energy(table=energy, missing="omit"), bits=bits,
        mean=_numbers(mean, "--mean"), deviation=_numbers(deviation, "--deviation"),
        progress=progress(quiet),
    )  # fmt: skip


def _numbers(text: str, option: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or not all(map(math.isfinite, numbers)):
        raise typer.BadParameter(
            f"must be numbers with commas between, got {text!r}", param_hint=option
        )
    return numbers


def run(
    model: str,
    inputs: Sequence[str],
    *,
    designs: str = "all",
    out: Path | None = None,
    json: bool = False,
    array: dict[str, int | None],
    memory: Memory,
    energy: Energy | None,
    bits: int | None = None,
    mean: Sequence[float] = (0.0,),
    deviation: Sequence[float] = (1.0,),
    progress: bool = True,
) -> Report:
    """Count a model on one photograph or array, write the report, print its table or JSON.

    Parameters
    ----------
    model : str
        An ONNX file.
    inputs : sequence of str
        Files of the inputs: photographs or .npy, a batch together, or one .npz with an array for
        each input by its name.
    designs : str
        "all", or designs with commas between, see `parse_designs`.
    out : Path, optional
        Folder of the report.
    json : bool
        Print the report as JSON, and not its table.
    array : dict
        Sizes that differ from the designs' defaults; None where they do not.
    memory, energy
        As of `count`.
    bits : int, optional
        Width that activations and weights are rounded to, 16 if there is none.
    mean, deviation : sequence of float
        Of the channels of a photograph in 0..1, one or one for each: (pixel − mean) / deviation.
    progress : bool
        Whether to draw a bar on standard error.

    Raises
    ------
    ImportError, OSError, TypeError, ValueError
        As of what it calls, each with a message of one line.
    """
    sizes = {name: size for name, size in array.items() if size is not None}
    chosen = [replace(item, **sizes) for item in parse_designs(designs)]
    if out is not None and out.exists() and not out.is_dir():
        raise ValueError(f"{str(out)!r} is there and is no folder")
    layers = _traced(model, inputs, bits, mean, deviation)
    result = counters.count(layers, chosen, memory=memory, energy=energy, progress=progress)
    report = result.report(Path(model).stem)
    written = report.write(out) if out is not None else []
    if json:
        print(report.dumps(), end="")
        return report
    shown = console()
    shown.print(report.table())
    for remark in report.remarks:
        shown.print(remark, markup=False, style="dim")
    if written:
        shown.print(f"Open {written[0]}", markup=False)
    return report


def parse_designs(text: str) -> list[Design]:
    """Designs by their names, or those of modules, with commas between; parameters after colons.

    Examples
    --------
    >>> [item.label for item in parse_designs("stripes,loom:serial_bits=2:tiles=4")]
    ['stripes', 'loom (serial_bits=2)']

    Raises
    ------
    TypeError, ValueError
        An unknown name, module or parameter, or nothing at all.
    """
    names = design_names() if text == "all" else [name.strip() for name in text.split(",")]
    found = []
    for name, settings in map(split_choice, names):
        parameters = {key: _value(value) for key, value in settings.items()}
        found.append(design(name, **parameters))
    return found


def _value(text: str) -> int | bool | str | None:
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    return int(text) if text.lstrip("-").isdecimal() else text


def _traced(
    model: str,
    inputs: Sequence[str],
    bits: int | None,
    mean: Sequence[float],
    deviation: Sequence[float],
) -> Trace:
    if not Path(model).is_file():
        raise ValueError(f"there is no model {model!r}")
    for path in inputs:
        if not Path(path).is_file():
            raise ValueError(f"there is no input {path!r}")
    values = read_inputs(model, inputs, mean, deviation)
    traced = trace(model, values, activation_bits=bits, weight_bits=bits)
    for node in traced.skipped:
        print(f"fmtlib: left out: {node.operator} {node.name}: {node.reason}", file=sys.stderr)
    return traced


def read_inputs(
    model: str, inputs: Sequence[str], mean: Sequence[float], deviation: Sequence[float]
) -> Floats | dict[str, NDArray[Any]]:
    """The inputs of a model from files: see `run`."""
    kinds = {Path(path).suffix.lower() for path in inputs}
    if ".npz" in kinds:
        if len(inputs) > 1:
            raise ValueError("one .npz holds all inputs; give no other file beside it")
        return {name: np.asarray(value) for name, value in load(inputs[0]).items()}
    if kinds <= {".npy"}:
        return np.concatenate([_array(path) for path in inputs])
    if kinds & set(_ARRAYS):
        raise ValueError("give either arrays or photographs, not both")
    shape = _image_shape(model)
    return np.stack([_photograph(path, shape, mean, deviation) for path in inputs])


def _array(path: str) -> NDArray[Any]:
    """An array of samples, all of them numbers."""
    found = load_array(path)
    if found.dtype.kind == "f" and (odd := found.size - int(np.isfinite(found).sum())):
        raise ValueError(
            f"{path} holds NaN or infinities ({odd} of {found.size}): leave those samples out, or "
            "put numbers in their place (numpy.nan_to_num)"
        )
    return found


def _image_shape(model: str) -> tuple[int | None, ...]:
    """Shape of the one input of a model without the batch; None where it is free."""
    try:
        import onnx
    except ImportError as error:
        raise ImportError("ONNX models need: pip install 'fmtlib[count]'") from error
    try:
        graph = onnx.load(model, load_external_data=False).graph
    except Exception as error:  # protobuf's own DecodeError and others
        raise ValueError(f"{model} is no ONNX model: {' '.join(str(error).split())}") from None
    constants = {tensor.name for tensor in graph.initializer}
    found = [value for value in graph.input if value.name not in constants]
    if len(found) != 1:
        names = ", ".join(value.name for value in found)
        raise ValueError(f"the model has the inputs {names}; give one .npz with all of them")
    dims = found[0].type.tensor_type.shape.dim
    shape = tuple(d.dim_value if d.HasField("dim_value") else None for d in dims)
    if len(shape) != 4:
        raise ValueError(f"the model's input has {len(shape)} axes, not the 4 of photographs")
    return shape[1:]


# What Pillow's decoders let through of damaged files, beside OSError.
_OF_DECODERS = (SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error)


def _photograph(
    path: str, shape: tuple[int | None, ...], mean: Sequence[float], deviation: Sequence[float]
) -> Floats:
    """A photograph in the layout and size of the model's input, normalised."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise ImportError("photographs need Pillow: pip install 'fmtlib[count]'") from error
    first = shape[0] in (1, 3)
    if not first and shape[2] not in (1, 3):
        raise ValueError(f"the model's input {shape} has no axis of 1 or 3 channels")
    channels, height, width = shape if first else (shape[2], *shape[:2])
    try:
        # as bytes: of these no more can be read than there are, whatever a header says
        with Image.open(io.BytesIO(Path(path).read_bytes())) as image:
            size = (width or image.width, height or image.height)
            whole = image.convert("L" if channels == 1 else "RGB")
            pixels = np.asarray(whole.resize(size, Image.Resampling.BICUBIC), np.float32) / 255
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError, *_OF_DECODERS) as error:
        raise ValueError(f"{path} is no photograph: {error}") from None
    pixels = pixels.reshape(size[1], size[0], -1)
    for name, values in (("mean", mean), ("deviation", deviation)):
        if len(values) not in (1, channels):
            raise ValueError(f"{name} takes 1 or {channels} numbers, got {len(values)}")
    if 0 in deviation:
        raise ValueError("the deviation must not be 0")
    pixels = (pixels - np.asarray(mean, np.float32)) / np.asarray(deviation, np.float32)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1) if first else pixels)
