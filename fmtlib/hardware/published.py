"""Networks by their shapes and published precision profiles, for results that need no tensors."""

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from fmtlib.choices import near_names
from fmtlib.hardware.layers import Layer
from fmtlib.hardware.tensors import MAX_BITS, Shape


@cache
def _networks() -> dict[str, dict[str, Any]]:
    text = files("fmtlib.hardware").joinpath("data/networks.json").read_text("utf-8")
    networks: dict[str, dict[str, Any]] = json.loads(text)
    return networks


def published_networks() -> dict[str, str | None]:
    """The networks that `published_network` knows, and where their widths are from.

    Returns
    -------
    dict
        Name → source of the precision profile; None if no published one is known to us.

    Examples
    --------
    >>> [name for name, source in published_networks().items() if source is None]
    ['resnet50', 'mobilenet']
    """
    return {name: network["profile"] for name, network in _networks().items()}


def published_network(
    name: str,
    *,
    activation_bits: int | Sequence[int] | None = None,
    weight_bits: int | Sequence[int] | None = None,
) -> list[Layer]:
    """The layers of a well-known network, by shapes alone and with a profile of widths.

    Parameters
    ----------
    name : str
        One of `published_networks`: "alexnet", "nin", "googlenet", "vgg_m", "vgg_s", "vgg_19",
        "lenet" and "convnet" (their convolutions), "resnet50", "mobilenet".
    activation_bits, weight_bits : int or sequence of int, optional
        Widths of all layers, or of each. None: those published; weights of which none are known
        have 16 bits. No profile is invented: a network without one must be given
        `activation_bits`.

    Returns
    -------
    list of Layer
        One image each. They have no values: designs count them that go by shapes and widths.

    Raises
    ------
    ValueError
        An unknown name, no widths, or not one for each layer.

    Examples
    --------
    >>> layers = published_network("vgg_m")
    >>> [(layer.name, layer.activation_bits) for layer in layers][:3]
    [('conv1', 7), ('conv2', 7), ('conv3', 7)]
    >>> len(published_network("mobilenet", activation_bits=8, weight_bits=8))
    28
    """
    if name not in _networks():
        raise ValueError(f"unknown network {name!r}{near_names(name, _networks())}")
    records = _networks()[name]["layers"]
    activations = _widths("activation_bits", activation_bits, records)
    weights = _widths("weight_bits", weight_bits, records)
    if None in activations:
        raise ValueError(
            f"no published profile of {name} is known: give activation_bits (one width, or "
            f"{len(records)}, one for each layer)"
        )
    layers = []
    for record, a_bits, w_bits in zip(records, activations, weights, strict=True):
        given: dict[str, Any] = {
            "activation_bits": a_bits,
            "weight_bits": MAX_BITS if w_bits is None else w_bits,
            "name": record["name"],
        }
        activations_shape, weights_shape = (Shape(*record[of]) for of in ("activations", "weights"))
        if record["kind"] == "linear":
            layers.append(Layer.linear(activations_shape, weights_shape, **given))
        else:
            given |= {key: record[key] for key in ("stride", "padding", "groups")}
            layers.append(Layer.conv(activations_shape, weights_shape, **given))
    return layers


def _widths(
    field: str, given: int | Sequence[int] | None, records: list[dict[str, Any]]
) -> list[int | None]:
    """The width of each layer: given for all or for each, else published or None."""
    if given is None:
        return [record[field] for record in records]
    if isinstance(given, Sequence):
        if len(given) != len(records):
            raise ValueError(f"{field} must be one, or {len(records)} of them, not {len(given)}")
        return list(given)
    return [given] * len(records)
