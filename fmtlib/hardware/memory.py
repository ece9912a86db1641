"""Traffic of layers between DRAM, on-chip memories and the array, and the cycles that it takes."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Literal

from fmtlib.arguments import not_one_of, whole_number
from fmtlib.encodings import storage_size
from fmtlib.hardware.designs.base import Design, remembered
from fmtlib.hardware.layers import Layer
from fmtlib.hardware.tensors import MAX_BITS, Shape
from fmtlib.hardware.walk import ceil_div

Storage = Literal["raw", "profiled", "dpred", "shapeshifter"]
STORAGES: tuple[Storage, ...] = ("raw", "profiled", "dpred", "shapeshifter")

_PROFILE_HEADER = 4  # bits that tell the width of a whole tensor


@dataclass(frozen=True)
class Footprint:
    """What a tensor takes in memory.

    Attributes
    ----------
    metadata_bits : int
        Headers and zero vectors.
    payload_bits : int
        Bits of values.
    """

    metadata_bits: int
    payload_bits: int

    @property
    def bits(self) -> int:
        """All of them."""
        return self.metadata_bits + self.payload_bits


def footprint(
    layer: Layer,
    operand: Literal["activations", "weights"],
    storage: Storage,
    group_size: int = 16,
) -> Footprint:
    """What an operand of a layer takes in memory, without padding, for the whole batch.

    Parameters
    ----------
    layer : Layer
    operand : {"activations", "weights"}
    storage : {"raw", "profiled", "dpred", "shapeshifter"}
        16 bits a value; the layer's profiled width for each, and 4 bits that tell it; DPRed's
        groups, decodable, of values along the channels; the count that published simulators make
        of them. The last two are those of `fmtlib.storage_size`.
    group_size : int
        Values per group.

    Returns
    -------
    Footprint

    Raises
    ------
    ValueError
        If groups are asked of a tensor of which only the shape is known.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Layer.linear(np.full((1, 32), 5), np.ones((4, 32), int), activation_bits=6)
    >>> [footprint(layer, "activations", storage).bits for storage in STORAGES]
    [512, 196, 104, 104]
    """
    if storage not in STORAGES:
        raise ValueError(not_one_of("storage", storage, STORAGES))
    tensor = getattr(layer, operand)
    size = math.prod(tensor.shape)
    if storage == "raw":
        return Footprint(0, MAX_BITS * size)
    if storage == "profiled":
        bits = layer.activation_bits if operand == "activations" else layer.weight_bits
        return Footprint(_PROFILE_HEADER, bits * size)
    if isinstance(tensor, Shape):
        raise ValueError(
            f"storage={storage!r} needs the values of the {operand} of {layer.name!r}, of which "
            "only the shape is known; use 'raw' or 'profiled'"
        )

    def find() -> Footprint:
        found = storage_size(tensor, storage, group_size, axis=1)
        return Footprint(found.metadata_bits, found.payload_bits)

    return remembered(layer, ("footprint", operand, storage, group_size), find)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The memories around an array.

    Parameters
    ----------
    storage : {"raw", "profiled", "dpred", "shapeshifter"}
        How activations and weights are stored, in DRAM and on chip, whatever the design; see
        `footprint`. The baseline's are always raw, 16 bits a value.
    group_size : int
        Values per group, along the channels.
    activation_bytes, weight_bytes : int
        Of the on-chip memories.
    dram_megabytes_per_second, clock_megahertz : int
        Bandwidth of DRAM (10^6 bytes) and clock of the array; their ratio is bytes per cycle.
    bank_bytes : int
        Size of one bank of the on-chip memories: it sets the energy of an access, no cycles.
    resident_activations : bool
        Whether activations that fit whole stay on chip from layer to layer and cost no DRAM
        traffic.

    Raises
    ------
    TypeError, ValueError
        A parameter of another type, or out of range.

    Notes
    -----
    **The rule of re-reading.** One operand is held on chip in p pieces as large as its memory,
    p = ceil(stored bits / memory), and the other is read once for each piece. Of both orders the
    one with less traffic is taken: W + p_W·A if weights are held, A + p_A·W if activations are.
    So what fits is read once. The overlap of pieces (halos) is not counted.

    **Writes.** The values of a layer's outputs are those of the next layer's activations, after
    normalisation, activation function and pooling. So a layer is charged with *its activations*,
    written once by whatever made them, and read. The outputs of the last layer are not charged.

    **Cycles.** memory cycles = ceil(DRAM bits / bits per cycle); DRAM and array work at the same
    time, so a layer takes max(compute, memory) cycles, and stalls = total − compute, never
    negative. Layers follow one after the other: the total of a network is the sum of its layers'.

    **On chip**, every window's values are read anew for each set of filters (rows · tiles), padding
    included, and all weights anew for each `columns` windows of an image (for each sample, if fully
    connected); outputs are written once, 16 bits each. Values are as many bits as they are in
    store, on average.

    Of operands in block floating point the mantissas are counted, as integers, and not the shared
    exponents. A design's own encoding (Cnvlutin's) is among its own counts, and not here.

    The defaults are an example, of no published accelerator: 2 MiB and 2 MiB in banks of 32 KiB,
    12.8 GB/s (one 64-bit channel of DDR3-1600) and 1 GHz.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Layer.linear(np.full((1, 32), 5), np.ones((4, 32), int))
    >>> counts = Memory(dram_megabytes_per_second=1000).count(layer, columns=16, filters=16)
    >>> counts.dram_bits, counts.cycles  # 2 · 104 + 4 · 40 bits at 8 bits a cycle
    (368, 46)
    """

    storage: Storage = "dpred"
    group_size: int = 16
    activation_bytes: int = 2 << 20
    weight_bytes: int = 2 << 20
    dram_megabytes_per_second: int = 12_800
    clock_megahertz: int = 1_000
    bank_bytes: int = 32 << 10
    resident_activations: bool = False

    def __post_init__(self) -> None:
        if self.storage not in STORAGES:
            raise ValueError(not_one_of("storage", self.storage, STORAGES))
        if not isinstance(self.resident_activations, bool):
            raise TypeError(
                f"resident_activations must be True or False, got {self.resident_activations!r}"
            )
        for field in fields(self):
            if field.type == "int":
                value = whole_number(field.name, getattr(self, field.name), 1)
                object.__setattr__(self, field.name, value)

    @property
    def bits_per_cycle(self) -> float:
        """Bits that DRAM gives or takes in one cycle."""
        return 8 * self.dram_megabytes_per_second / self.clock_megahertz

    @property
    def parameters(self) -> dict[str, Any]:
        """All parameters by their names."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def cycles(self, bits: int) -> int:
        """Cycles in which DRAM moves so many bits, exact.

        Examples
        --------
        >>> Memory(dram_megabytes_per_second=12_800, clock_megahertz=1_000).cycles(1025)
        11
        """
        return ceil_div(bits * self.clock_megahertz, 8 * self.dram_megabytes_per_second)

    def count(
        self, layer: Layer, columns: int, filters: int, storage: Storage | None = None
    ) -> MemoryCounts:
        """The traffic of a layer.

        Parameters
        ----------
        layer : Layer
        columns, filters : int
            Windows and filters in flight in the array, all tiles together.
        storage : optional
            Another than that of the record.

        Raises
        ------
        ValueError
            If groups are asked of a tensor of which only the shape is known.
        """
        storage = storage or self.storage
        a = footprint(layer, "activations", storage, self.group_size)
        w = footprint(layer, "weights", storage, self.group_size)
        writes, a_reads, w_reads = a.bits, 1, 1
        if self.resident_activations and a.bits <= 8 * self.activation_bytes:
            writes = a_reads = 0  # then one piece of activations, and weights are read once
        else:
            pieces_a = ceil_div(a.bits, 8 * self.activation_bytes)
            pieces_w = ceil_div(w.bits, 8 * self.weight_bytes)
            if a.bits + pieces_a * w.bits < w.bits + pieces_w * a.bits:
                w_reads = pieces_a
            else:
                a_reads = pieces_w
        dram_bits = writes + a_reads * a.bits + w_reads * w.bits
        sets = ceil_div(layer.filters // layer.groups, filters)
        outputs = layer.batch * layer.windows * layer.filters
        activation_values = layer.batch * layer.windows * layer.reduction * layer.groups * sets
        weight_values = (
            layer.batch * ceil_div(layer.windows, columns) * math.prod(layer.weights.shape)
        )
        return MemoryCounts(
            activation_write_bits=writes,
            activation_read_bits=a_reads * a.bits,
            weight_read_bits=w_reads * w.bits,
            metadata_bits=(a_reads + (writes > 0)) * a.metadata_bits + w_reads * w.metadata_bits,
            cycles=self.cycles(dram_bits),
            sram_activation_read_bits=_scaled(activation_values, a, layer.activations.shape),
            sram_weight_read_bits=_scaled(weight_values, w, layer.weights.shape),
            sram_output_write_bits=MAX_BITS * outputs,
        )

    def of_design(self, layer: Layer, item: Design, storage: Storage | None = None) -> MemoryCounts:
        """The traffic of a layer on a design's array."""
        return self.count(layer, item.columns, item.rows * item.tiles, storage)


def _scaled(values: int, stored: Footprint, shape: tuple[int, ...]) -> int:
    """Bits of so many values, each of as many bits as the stored ones are on average; rounded up"""
    return ceil_div(values * stored.bits, math.prod(shape))


@dataclass(frozen=True)
class MemoryCounts:
    """Traffic of one layer, or of all layers; it adds up.

    Attributes
    ----------
    activation_write_bits, activation_read_bits, weight_read_bits : int
        Of DRAM.
    metadata_bits : int
        Of these, headers and zero vectors.
    cycles : int
        That DRAM takes.
    sram_activation_read_bits, sram_weight_read_bits, sram_output_write_bits : int
        Of the on-chip memories, on the side of the array.
    """

    activation_write_bits: int
    activation_read_bits: int
    weight_read_bits: int
    metadata_bits: int
    cycles: int
    sram_activation_read_bits: int
    sram_weight_read_bits: int
    sram_output_write_bits: int

    @property
    def dram_bits(self) -> int:
        """All traffic of DRAM."""
        return self.activation_write_bits + self.activation_read_bits + self.weight_read_bits

    @property
    def sram_bits(self) -> int:
        """All traffic of the on-chip memories with the array, and with DRAM."""
        array = self.sram_activation_read_bits + self.sram_weight_read_bits
        return array + self.sram_output_write_bits + self.dram_bits

    @classmethod
    def total(cls, counts: list[MemoryCounts]) -> MemoryCounts:
        """The sum over layers."""
        return cls(*(sum(getattr(c, field.name) for c in counts) for field in fields(cls)))
