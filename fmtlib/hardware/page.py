"""A report as one HTML page that needs nothing else (extra: count)."""

from __future__ import annotations

import base64
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmtlib.hardware.report import Report

# Heads of columns of words; the others are of numbers.
_WORDS = frozenset(
    ("network", "design", "tiles × lanes × columns × rows", "layer", "operand", "scope")
)


def render(report: Report, pictures: Mapping[str, tuple[str, str]]) -> str:
    """The page of a report.

    Parameters
    ----------
    report : Report
    pictures : dict of str to (str, str)
        Name → caption and SVG, as `plots.svg_pictures` gives them.

    Raises
    ------
    ImportError
        If Jinja2 is missing.
    """
    try:
        import jinja2
    except ImportError as error:
        raise ImportError("HTML needs Jinja2: pip install 'fmtlib[count]'") from error
    # Everything is escaped: names of layers are whatever a model's file says.
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = files("fmtlib.hardware").joinpath("templates", "report.html")
    template = environment.from_string(source.read_text(encoding="utf-8"))
    images = [
        (caption, "data:image/svg+xml;base64," + base64.b64encode(picture.encode()).decode())
        for caption, picture in pictures.values()
    ]
    return template.render(
        title="Accelerator counts: " + ", ".join(report.networks),
        report=report,
        images=images,
        words=_WORDS,
        totals=report.total_rows(),
        energy=report.energy_rows(),
        traffic=report.traffic_rows(),
        headlines=report.headline_rows(),
        layers=report.layer_rows(),
    )
