"""All 2**32 float32 patterns through a cast, counted against the reference's thresholds.

The expected codes of a run of consecutive patterns are a few constants, each repeated: a cast's
results are compared with `np.repeat` of what `reference.thresholds` says.  The kernels take no part
in it.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from steps import steps

from fmtlib import reference

INPUTS = 1 << 32
HALF = 1 << 31
CHUNK = 1 << 18  # patterns at a time: they stay in the cache
SHARE = 1 << 26  # patterns between two reports of progress


def count_wrong(cast, fmt, overflow, progress, *, decoded=False):
    """How many of the 2**32 nearest-even results of `cast` are not what the thresholds say.

    `cast` takes float32 and gives codes; with `decoded` it gives float32 values.  Results are
    compared bit for bit, but where NaN is expected any NaN of the format will do.  `progress` is
    called with a number of inputs done.
    """
    sides = [steps(fmt, "float32", overflow=overflow, negative=n) for n in (False, True)]
    values = np.array([float(reference.decode(c, fmt)) for c in range(1 << fmt.bits)], np.float32)
    is_nan = np.isnan(values)
    value_bits = values.view(np.uint32)

    def count(first):
        """Wrong results among the `SHARE` patterns from `first` on."""
        wrong = 0
        offsets = np.arange(CHUNK, dtype=np.uint32)
        for start in range(first, first + SHARE, CHUNK):
            found = cast((offsets + np.uint32(start)).view(np.float32))
            side, magnitude = divmod(start, HALF)
            codes = sides[side].of_range(magnitude, magnitude + CHUNK)
            if decoded:
                differ = np.flatnonzero(found.view(np.uint32) != value_bits[codes])
                nan = np.isnan(found[differ])
            else:
                differ = np.flatnonzero(found != codes)
                nan = is_nan[found[differ]]
            wrong += np.count_nonzero(~(nan & is_nan[codes[differ]]))
        progress(SHARE)
        return wrong

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return int(sum(pool.map(count, range(0, INPUTS, SHARE))))
