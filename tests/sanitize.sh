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
.venv-sanitize/bin/pytest -q -p no:cacheprovider @tests/kernels.txt "$@"
