"""The console script ``fmtlib``."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fmtlib as fl
from fmtlib.arguments import whole_number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="fmtlib", description="Bit-exact low-precision number formats, and what they buy."
    )
    parser.add_argument("--version", action="version", version=f"fmtlib {fl.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo",
        help="train on real data in several formats, and count accelerator cycles",
        description="Train an MLP and a CNN on scikit-learn's digits in FP32, FP8, block floating "
        "point and FAST; take the CNN's tensors through the hardware counters; print two tables, "
        'and write plots and results.json. Needs the extra: pip install "fmtlib[demo]".',
    )
    demo.add_argument("--quick", action="store_true", help="a look in under 30 seconds")
    demo.add_argument("--output", default="demo-results", metavar="DIR",
                      help="folder for the results (default: %(default)s)")  # fmt: skip
    demo.add_argument("--workers", type=_positive, metavar="N",
                      help="processes (default: one per core)")  # fmt: skip
    demo.set_defaults(run=_demo)

    formats = commands.add_parser("formats", help="list the named formats")
    formats.set_defaults(run=_formats)

    show = commands.add_parser(
        "show",
        help="list the codes of a format, their bits, values and classes",
        description="List the codes of a format: bits, exact value and class of each. Of a format "
        "of more than 8 bits the first and the last codes, unless --start or --stop is given.",
    )
    show.add_argument("format", metavar="FORMAT", help="a name or alias; see `fmtlib formats`")
    show.add_argument("--start", type=_code, metavar="CODE", help="the first code (0x.. for hex)")
    show.add_argument("--stop", type=_code, metavar="CODE", help="the code to stop before")
    show.set_defaults(run=_show)

    vectors = commands.add_parser(
        "vectors",
        help="write test vectors for RTL: inputs and expected codes",
        description="Write test vectors for a circuit that encodes, decodes, quantises, converts "
        "blocks or adds up products: hex files for $readmemh, CSV and a manifest, in one folder "
        "for each rounding and overflow. The same arguments give the same files.",
    )
    vectors.add_argument("format", metavar="FORMAT", help="a name or alias; see `fmtlib formats`")
    vectors.add_argument("--op", required=True, help="what the circuit does",
                         choices=("encode", "decode", "quantize", "bfp", "dot"))  # fmt: skip
    vectors.add_argument("--out", default="vectors", metavar="DIR",
                         help="folder for the folders (default: %(default)s)")  # fmt: skip
    vectors.add_argument("--rounding", metavar="NAMES",
                         help="names with commas between (default: all)")  # fmt: skip
    vectors.add_argument("--overflow", metavar="NAMES",
                         help="names with commas between (default: all but raise)")  # fmt: skip
    vectors.add_argument("--dtype", choices=("float32", "float16", "bfloat16", "float64"),
                         help="type of the numbers that are no codes (default: float32); of a "
                         "16-bit one encode and quantize take all patterns")  # fmt: skip
    vectors.add_argument("--random-bits", type=_positive, metavar="R",
                         help="bits of noise of stochastic roundings (default: 8)")  # fmt: skip
    vectors.add_argument("--lfsr-width", type=_positive, metavar="W",
                         help="bits of the LFSR that makes the noise (default: 16)")  # fmt: skip
    vectors.add_argument("--lfsr-seed", type=_code, metavar="STATE", help="its first state")
    vectors.add_argument("--lfsr-steps", type=_positive, metavar="N",
                         help="its steps for each element (default: R)")  # fmt: skip
    vectors.add_argument("--format-b", metavar="FORMAT",
                         help="dot: format of the second operand (default: FORMAT)")  # fmt: skip
    vectors.add_argument("--accumulator", metavar="NAME",
                         help="dot: how products are added up (default: float32)")  # fmt: skip
    vectors.add_argument("--terms", type=_positive, metavar="K",
                         help="dot: products in each (default: 16, or two blocks)")  # fmt: skip
    vectors.add_argument("--seed", type=_code, metavar="N",
                         help="of the random inputs (default: 0)")  # fmt: skip
    vectors.add_argument("--count", type=_code, metavar="N",
                         help="random inputs beside the corners (default: 1000)")  # fmt: skip
    vectors.set_defaults(run=_vectors)

    _add_count(commands)
    _add_train(commands)

    bench = commands.add_parser(
        "bench",
        help="time the kernels beside a memory copy and other packages",
        description="Time the kernels on one thread beside np.copyto of the same array (or another "
        "yardstick) and beside every peer that is installed: numpy by hand, ml_dtypes, gfloat, "
        "torch, jax, qtorch. All of a row run interleaved. Of several targets or sizes, headlines "
        "and what is selected run on each, the others on the best and in the greatest. Needs the "
        'extra: pip install "fmtlib[bench]"; for the peers "fmtlib[peers]".',
    )
    bench.add_argument("--select", metavar="PATTERN", help="only tasks whose name the regular "
                       "expression is found in")  # fmt: skip
    bench.add_argument("--list", action="store_true", help="list the names of the tasks, no more")
    bench.add_argument("--targets", default="best", metavar="NAMES",
                       help="instruction sets: best (the default), all, or names with commas "
                       "between")  # fmt: skip
    bench.add_argument("--sizes", metavar="NAMES",
                       help="l1, l2, memory (the default), 1.5l1 to 1.5l3 (times a cache), numbers "
                       "of elements, or all")  # fmt: skip
    bench.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True,
                       help="other packages, too (the default)")  # fmt: skip
    bench.add_argument("--quick", action="store_true",
                       help="a look: headlines, smaller arrays, five rounds")  # fmt: skip
    bench.add_argument("--seconds", type=_seconds, metavar="S",
                       help="for the rounds of a row, five at least (default: 0.3)")  # fmt: skip
    bench.add_argument("--json", metavar="FILE", help="save the results")
    bench.add_argument("--plot", metavar="FILE", help="save a plot: .svg, .png or .pdf")
    bench.add_argument("--compare", metavar="FILE", help="compare with saved results")
    bench.set_defaults(run=_bench)

    chosen = parser.parse_args(arguments)
    try:
        chosen.run(chosen)
    except BrokenPipeError:  # the reader of a pipe has had enough
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  # so that exiting cannot fail
    except (ValueError, TypeError, OSError, ImportError, FloatingPointError) as error:
        print(f"fmtlib: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("fmtlib: interrupted", file=sys.stderr)
        return 130
    return 0


def _add_count(commands: Any) -> None:
    count = commands.add_parser(
        "count",
        help="count a network's cycles, traffic and energy on accelerators",
        description="Run an ONNX model on real inputs; count the cycles, the work, the traffic and "
        "the energy of its layers on accelerators; write a report: an HTML page, Markdown, CSV, "
        'JSON and plots. Needs the extra: pip install "fmtlib[count]".',
    )
    count.add_argument("model", metavar="MODEL", help="an ONNX file")
    count.add_argument("--input", dest="inputs", metavar="FILE", nargs="+", required=True,
                       help="photographs, which are resized to the model's input, or .npy: a "
                       "batch together; or one .npz with an array for each input")  # fmt: skip
    count.add_argument("--mean", type=_numbers, default=(0.0,), metavar="M[,M,M]",
                       help="of a photograph's channels, pixels from 0 to 1")  # fmt: skip
    count.add_argument("--deviation", type=_numbers, default=(1.0,), metavar="D[,D,D]",
                       help="the model gets (pixel - M) / D (default: 1)")  # fmt: skip
    count.add_argument("--bits", type=_positive, metavar="N",
                       help="round activations and weights to N bits, 2 to 16 (default: 16, and "
                       "the widths that the tensors then need)")  # fmt: skip
    count.add_argument("--designs", default="all", metavar="NAMES",
                       help="all (the default), or designs with commas between, parameters after "
                       "colons: stripes,loom:serial_bits=2")  # fmt: skip
    for name in ("tiles", "lanes", "columns", "rows"):
        count.add_argument(f"--{name}", type=_positive, metavar="N", help=f"{name} of every array "
                           "(default: each design's own)")  # fmt: skip
    count.add_argument("--out", metavar="DIR", help="folder for the report")
    count.add_argument("--json", action="store_true", help="print the report as JSON, no table")
    count.add_argument("--quiet", action="store_true", help="draw no progress bar")
    memory = count.add_argument_group("memory")
    kinds = ("raw", "profiled", "dpred", "shapeshifter")
    memory.add_argument("--storage", choices=kinds, default="dpred",
                        help="how tensors are stored (default: %(default)s)")  # fmt: skip
    for name, default, what in (
        ("group-size", 16, "values per group"),
        ("activation-bytes", 2 << 20, "on-chip memory of activations"),
        ("weight-bytes", 2 << 20, "on-chip memory of weights"),
        ("dram-megabytes-per-second", 12_800, "bandwidth of DRAM"),
        ("clock-megahertz", 1_000, "clock of the array"),
    ):
        memory.add_argument(f"--{name}", type=_positive, metavar="N", default=default,
                            help=f"{what} (default: %(default)s)")  # fmt: skip
    count.add_argument("--energy", choices=("estimates_45nm", "horowitz_45nm", "none"),
                       default="estimates_45nm", help="table of constants; designs of which one "
                       "is missing go without (default: %(default)s)")  # fmt: skip
    count.set_defaults(run=_count)


def _add_train(commands: Any) -> None:
    train = commands.add_parser(
        "train",
        add_help=False,
        help="train a network in a number format",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Train a network on real data, every operand of every matrix product in the "
        "formats of\na recipe; print loss and accuracy of each epoch; write result.json, "
        "curves.png and, of\nrecipes that decide on mantissas, mantissas.csv and mantissas.png. "
        "The same arguments give\nthe same bits. Exit status 1 if training stops because the loss "
        'or a gradient is not finite.\nNeeds the extra: pip install "fmtlib[train]".',
    )
    train.add_argument("-h", "--help", action=_TrainHelp, nargs=0,
                       help="show this message and all names, with their parameters")  # fmt: skip
    train.add_argument("--data", default="digits", metavar="DATA",
                       help="data set (default: %(default)s)")  # fmt: skip
    train.add_argument("--network", metavar="NETWORK",
                       help="network (default: mlp, and lstm for text)")  # fmt: skip
    train.add_argument("--recipe", default="float32", metavar="RECIPE",
                       help="which formats products take (default: %(default)s)")  # fmt: skip
    train.add_argument("--epochs", type=_positive, default=15, metavar="N",
                       help="(default: %(default)s)")  # fmt: skip
    train.add_argument("--batch-size", type=_positive, default=64, metavar="N",
                       help="samples of a step (default: %(default)s)")  # fmt: skip
    train.add_argument("--optimizer", default="sgd", metavar="NAME",
                       help="(default: %(default)s, with momentum 0.9)")  # fmt: skip
    train.add_argument("--schedule", default="cosine", metavar="NAME",
                       help="of the learning rate (default: %(default)s)")  # fmt: skip
    train.add_argument("--learning-rate", type=float, metavar="RATE",
                       help="at its peak (default: 0.1, of adam and adamw 0.002)")  # fmt: skip
    train.add_argument("--clip-norm", type=float, metavar="NORM",
                       help="scale gradients down to this norm (default: they stay)")  # fmt: skip
    train.add_argument("--loss-scale", metavar="SCALE", help="(default: none)")
    train.add_argument("--seed", type=_code, default=0, metavar="N",
                       help="of the split, the weights, all that is random")  # fmt: skip
    train.add_argument("--weights", metavar="FILE",
                       help="begin from the weights of a checkpoint")  # fmt: skip
    train.add_argument("--checkpoint", metavar="FILE",
                       help="write one at each epoch's end: .npz or .safetensors")  # fmt: skip
    train.add_argument("--checkpoint-every", type=_positive, metavar="STEPS",
                       help="write it after so many steps, too")  # fmt: skip
    train.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    train.add_argument("--out", default="train-results", metavar="DIR",
                       help="folder for the results (default: %(default)s)")  # fmt: skip
    train.add_argument("--json", action="store_true", help="print the result as JSON, no table")
    train.add_argument("--quiet", action="store_true", help="draw no progress bar")
    train.set_defaults(run=_train)


class _TrainHelp(argparse.Action):
    """The help and the names of the tables, which are imported only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from fmtlib.training import command

        print(f"{parser.format_help()}\n{command.listing()}")
        parser.exit()


def _numbers(text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or not all(map(math.isfinite, numbers)):
        raise argparse.ArgumentTypeError(f"takes numbers with commas between, got {text!r}")
    return numbers


def _positive(text: str) -> int:
    try:
        return whole_number("N", int(text) if text.lstrip("-").isdecimal() else text, 1)
    except (TypeError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _code(text: str) -> int:
    try:
        return whole_number("CODE", int(text, 0), 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"CODE must be a number from 0, got {text!r}") from None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"S must be a number from 0, got {text!r}")
    return seconds


def _demo(chosen: argparse.Namespace) -> None:
    from fmtlib import demo

    demo.run(chosen.output, quick=chosen.quick, workers=chosen.workers)


def _formats(chosen: argparse.Namespace) -> None:
    rows = [("name", "bits", "greatest value", "smallest step", "codes")]
    for name, fmt in fl.formats().items():
        step = f"2^{fmt.quantum_exponent}"
        rows.append((name, str(fmt.bits), f"{fmt.max:.8g}", step, str(fmt.code_dtype)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


def _show(chosen: argparse.Namespace) -> None:
    print(fl.show(chosen.format, chosen.start, chosen.stop))


def _vectors(chosen: argparse.Namespace) -> None:
    from fmtlib.vectors import LFSR, every_mode

    lfsr = {"width": chosen.lfsr_width, "seed": chosen.lfsr_seed, "steps": chosen.lfsr_steps}
    lfsr = {name: value for name, value in lfsr.items() if value is not None}
    given = {
        "roundings": chosen.rounding and chosen.rounding.split(","),
        "overflows": chosen.overflow and chosen.overflow.split(","),
        "dtype": chosen.dtype, "random_bits": chosen.random_bits,
        "lfsr": LFSR(**lfsr) if lfsr else None, "b": chosen.format_b,
        "accumulator": chosen.accumulator, "terms": chosen.terms, "seed": chosen.seed,
        "count": chosen.count,
    }  # fmt: skip
    arguments = {name: value for name, value in given.items() if value is not None}
    for vectors in every_mode(chosen.format, chosen.op, **arguments):
        folder = vectors.write(Path(chosen.out, vectors.name))
        print(f"{folder}: {len(vectors)} vectors")


def _count(chosen: argparse.Namespace) -> None:
    from fmtlib import hardware
    from fmtlib.hardware import command

    memory = hardware.Memory(
        storage=chosen.storage,
        group_size=chosen.group_size,
        activation_bytes=chosen.activation_bytes,
        weight_bytes=chosen.weight_bytes,
        dram_megabytes_per_second=chosen.dram_megabytes_per_second,
        clock_megahertz=chosen.clock_megahertz,
    )
    none = chosen.energy == "none"
    command.run(
        chosen.model, chosen.inputs, designs=chosen.designs, out=chosen.out, json=chosen.json,
        array={name: getattr(chosen, name) for name in ("tiles", "lanes", "columns", "rows")},
        memory=memory,
        energy=None if none else hardware.Energy(table=chosen.energy, missing="omit"),
        bits=chosen.bits, mean=chosen.mean, deviation=chosen.deviation,
        progress=not chosen.quiet,
    )  # fmt: skip


def _train(chosen: argparse.Namespace) -> None:
    from fmtlib.training import Setup, command

    text = chosen.data.partition(":")[0] == "text"
    setup = Setup(
        data=chosen.data, network=chosen.network or ("lstm" if text else "mlp"),
        recipe=chosen.recipe, epochs=chosen.epochs, batch_size=chosen.batch_size,
        learning_rate=chosen.learning_rate, optimizer=chosen.optimizer, schedule=chosen.schedule,
        clip_norm=chosen.clip_norm, loss_scale=chosen.loss_scale, seed=chosen.seed,
    )  # fmt: skip
    command.run(
        setup, out=chosen.out, weights=chosen.weights, checkpoint=chosen.checkpoint,
        checkpoint_every=chosen.checkpoint_every, resume=chosen.resume, json=chosen.json,
        progress=not chosen.quiet,
    )  # fmt: skip


def _bench(chosen: argparse.Namespace) -> None:
    from fmtlib.benchmarks import command, runner

    if chosen.list:
        print("\n".join(task.name for task in runner.selected(chosen.select, chosen.quick)))
        return
    command.run(
        select=chosen.select, targets=chosen.targets, sizes=chosen.sizes, peers=chosen.peers,
        quick=chosen.quick, seconds=chosen.seconds, json=chosen.json, plot=chosen.plot,
        compare=chosen.compare,
    )  # fmt: skip
