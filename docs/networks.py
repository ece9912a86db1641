"""Put the figures of real networks into docs/real_networks.md and its picture.

python examples/real_networks.py --output real-networks
python docs/networks.py real-networks
"""

import json
import sys
from itertools import takewhile
from pathlib import Path
from typing import Any

from readme_figures import ROOT, fill  # beside this file

sys.path.insert(0, str(ROOT / "examples"))
from real_networks import HEAD, UNIFORM_HEAD, below, cells, plot, uniform_cells

PAGE = ROOT / "docs/real_networks.md"
AGREED = 99  # percent
PICTURE = ROOT / "docs/images/real_networks.svg"
ALL_HEAD = (
    "network", "tensors", "values (M)", "zeros (%)", "profiled", "group 16", "below (%)",
    "group 256", "raw (Mbit)", "profiled (Mbit)", "DPRed (Mbit)", "of profiled (%)",
    "published count",
)  # fmt: skip


def markdown(head: tuple[str, ...], lines: list[list[str]]) -> str:
    """A table; all columns but the first are of numbers."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in [list(head), rule, *lines])


def all_layers(networks: list[dict[str, Any]]) -> str:
    """Sums over all layers: activations and weights."""
    lines = []
    for result in networks:
        for what in ("activations", "weights"):
            row = result[what]
            n = row["values"]
            lines.append(
                [
                    f"`{result['network']}`",
                    what,
                    f"{n / 1e6:.2f}",
                    f"{100 * row['zeros'] / n:.0f}",
                    f"{row['profiled_width']:.2f}",
                    f"{row['group_16_bits'] / n:.2f}",
                    f"{below(row):.0f}",
                    f"{row['group_256_bits'] / n:.2f}",
                    *(f"{row[f'{name}_bits'] / 1e6:.1f}" for name in ("raw", "profiled", "dpred")),
                    f"{100 * row['dpred_bits'] / row['profiled_bits']:.0f}",
                    f"{row['published_dpred_bits'] / 1e6:.1f}",
                ]
            )
    return markdown(ALL_HEAD, lines)


def uniform(networks: list[dict[str, Any]]) -> str:
    """All activations of a network rounded to the same width."""
    lines = [
        [f"`{result['network']}`", *uniform_cells(row)]
        for result in networks
        for row in result["uniform"]
    ]
    kinds = [f"`{result['network']}`: {result['agreement']}" for result in networks]
    table = markdown(("network", *UNIFORM_HEAD), lines)
    kept = []
    for result in networks:
        enough = list(takewhile(lambda row: row["agreement_percent"] >= AGREED, result["uniform"]))
        least = enough[-1]
        kept.append(
            f"`{result['network']}` {least['activation_bits']} bits, and groups of 16 are "
            f"{least['below_percent']:.0f} % below that "
            f"({least['below_percent_mean_of_layers']:.0f} % as the mean of layers)"
        )
    return (
        f"{table}\n\n{AGREED} % of agreement takes: {'; '.join(kept)}.\n\n"
        f"Agreement with the network in floating point: {'; '.join(kinds)}."
    )


def layers(networks: list[dict[str, Any]]) -> str:
    """A table of each network's layers."""
    parts = []
    for result in networks:
        lines = [
            [
                f"`{row['layer']}`",
                *(f"2^{scale_exponent(row[f'{what}_scale'])}" for what in ("activation", "weight")),
                *cells(row["activations"]),
            ]
            for row in result["layers"]
        ]
        lines.append(["all", "", "", *cells(result["activations"])])
        head = ("layer", "scale", "of weights", *HEAD)
        parts.append(f"### {result['about']}\n\n{markdown(head, lines)}")
    return "\n\n".join(parts)


def scale_exponent(scale: float) -> int:
    """The exponent of a power of two."""
    mantissa, denominator = scale.as_integer_ratio()
    return mantissa.bit_length() - denominator.bit_length()


def ran_on(record: dict[str, Any]) -> str:
    """The machine and the versions."""
    versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    return (
        f"It took {record['seconds']:.0f} s on one thread of an {record['processor']} "
        f"({record['cpu_target']} kernels), with Python {record['python']}, {versions}."
    )


def main(folder: Path) -> None:
    """Rewrite the page and its picture from a folder of results."""
    record = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    networks = record["networks"]
    fill(PAGE, "machine", ran_on(record))
    fill(PAGE, "all", all_layers(networks))
    fill(PAGE, "uniform", uniform(networks))
    fill(PAGE, "layers", layers(networks))
    plot(networks, PICTURE)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
