import numpy as np
from numpy.typing import NDArray

def run_ahead(costs: NDArray[np.uint8], repeats: int, registers: int) -> int: ...
def round_robin(costs: NDArray[np.int32], repeats: int, columns: int) -> int: ...
def brick_cycles(
    masks: NDArray[np.uint16], lanes: int, reach: int, cycles: NDArray[np.uint8]
) -> None: ...
def pallet_maxima(
    values: NDArray[np.uint8],
    outputs: tuple[int, int],
    columns: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
) -> NDArray[np.uint8]: ...
def sum_of_max_products(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> int: ...
def schedule(
    nonzero: NDArray[np.uint64],
    lanes: int,
    ahead: NDArray[np.int32],
    aside: NDArray[np.int32],
    lookahead: int,
    fewest_first: bool,
) -> tuple[NDArray[np.int32], NDArray[np.uint64]]: ...
def selected_maxima(
    values: NDArray[np.uint8], rows: NDArray[np.int32], selected: NDArray[np.uint64]
) -> NDArray[np.uint8]: ...
def skipped_cycles(
    activations: NDArray[np.uint64], weights: NDArray[np.uint64], lanes: int
) -> int: ...
def scnn(
    activations: NDArray[np.int16],
    weights: NDArray[np.uint8],
    grid: tuple[int, int],
    outputs: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    first_filter: int,
    activations_per_step: int,
    weights_per_step: int,
    begin: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]: ...
