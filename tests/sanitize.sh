#!/usr/bin/env bash
# The kernels under AddressSanitizer and UndefinedBehaviorSanitizer, in an environment of their own.
# Usage: tests/sanitize.sh [pytest arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
python3 -m venv .venv-sanitize
FMTLIB_SANITIZE=1 .venv-sanitize/bin/pip install -q -c constraints.txt ".[test]"
runtime=$(${CC:-gcc} -print-file-name=libasan.so)
# Python's own allocations are not ours to judge
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export LD_PRELOAD="$runtime $(${CC:-gcc} -print-file-name=libstdc++.so)"
.venv-sanitize/bin/pytest -q -p no:cacheprovider \
    tests/test_accumulators.py tests/test_arguments.py tests/test_block_formats.py \
    tests/test_blocks.py tests/test_files.py tests/test_inputs.py tests/test_p3109.py \
    tests/test_packing.py tests/test_product_tiles.py tests/test_storage.py tests/test_codes.py tests/test_statistics.py \
    tests/test_precision.py tests/test_group_widths.py tests/test_terms.py tests/test_compression.py tests/test_bricks.py \
    tests/test_bit_planes.py tests/test_axes.py tests/test_products.py tests/test_random.py tests/test_scaling.py tests/test_scaled_floats.py \
    tests/test_ufuncs.py tests/test_nearest.py tests/test_streaming.py tests/test_stochastic.py tests/test_chunks.py tests/test_chunked.py \
    tests/test_reference_counts.py tests/test_designs.py "$@"
