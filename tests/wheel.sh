#!/usr/bin/env bash
# The sdist and the wheel as users get them: built, checked, installed, and tested away from the tree.
# Usage: tests/wheel.sh [--quick] [pytest arguments]
# --quick: the wheel is the tree's, not the sdist's, and of what is in build/ if that is there, as
# pip has just left it; few tests unless others are named.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
tests=(@tests/kernels.txt tests/test_packaging.py)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$python" -m venv "$scratch/tools"
tools=$scratch/tools/bin
"$tools/pip" install -q -c constraints.txt \
    abi3audit auditwheel build check-manifest cython numpy setuptools twine

quick=()
if [ "${1-}" = --quick ]; then
    shift
    quick=(--no-isolation --sdist --wheel)
    tests=(tests/test_packaging.py tests/test_golden.py)
    if [ -d build ]; then # else NumPy's .pxd, just installed, would seem newer than what was built
        touch -c fmtlib/_core/kernels.c fmtlib/_core/counting.c
        find build -type f -exec touch {} +
    fi
fi
[ $# = 0 ] || tests=("$@")
"$tools/python" -m build "${quick[@]}" -o "$scratch" . > "$scratch/log" || { cat "$scratch/log"; exit 1; }
wheel=$(echo "$scratch"/*.whl)
[ ! -e .git ] || "$tools/check-manifest" --no-build-isolation
"$tools/twine" check --strict "$scratch"/*.whl "$scratch"/*.tar.gz
[[ $wheel != *-abi3-* ]] || "$tools/abi3audit" --strict --summary "$wheel"
[ "$(uname)" != Linux ] || "$tools/auditwheel" show "$wheel"

"$python" -m venv "$scratch/venv"
venv=$scratch/venv/bin
"$venv/pip" install -q -c constraints.txt "$wheel"
cp -r pyproject.toml tests "$scratch"
cd "$scratch"
# with NumPy alone
"$venv/python" -W error -c 'import fmtlib as fl; assert fl.decode(fl.encode([0.3], "e4m3"), "e4m3") == [0.3125]'
"$venv/pip" install -q -c "$OLDPWD/constraints.txt" \
    "$wheel[cli]" 'dask[array]' hypothesis ml_dtypes pytest pytest-xdist scipy
"$venv/fmtlib" show e2m1 > /dev/null
"$venv/pytest" -q -p no:cacheprovider "${tests[@]}"
