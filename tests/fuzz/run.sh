#!/usr/bin/env bash
# Fuzz parsers and verbs (fuzz.py: atheris) and kernels (kernels.c: libFuzzer, AddressSanitizer, UBSan) for
# so many seconds each.
# Usage: tests/fuzz/run.sh [seconds]
# PYTHON, CLANG and FUZZ_FOLDER (what is built and found, and the corpora) have defaults.  SANITIZED=1 also
# compiles the modules of the tree with these sanitizers and fuzzes the verbs with them, led by the coverage
# of the C.  Needs pip install "fmtlib[fuzz]" and clang with its runtime (Debian, Ubuntu: apt install clang
# libclang-rt-dev); what is not there is left out, and said so.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-20}
python=${PYTHON:-python3}
folder=${FUZZ_FOLDER:-build/fuzz}
clang=${CLANG:-$({ compgen -c clang | grep -xE 'clang(-[0-9]+)?' || true; } | sort -V | head -n 1)}
sanitize=address,undefined
mkdir -p "$folder"/{objects,parsers,verbs,kernels}
options=(-max_total_time="$seconds" -timeout=60 -rss_limit_mb=4096 -print_final_stats=1 -len_control=0)
# in CI the same inputs for the same tree, lest a change fail by what it has no part in
[ -z "${CI:-}" ] || options+=(-seed=1)

with_atheris() { # target, corpus, and what to run before
    "${@:3}" "$python" tests/fuzz/fuzz.py "$1" "${options[@]}" -max_len=16384 \
        -artifact_prefix="$folder/$1-" "$folder/$2" > "$folder/$1.log" 2>&1 || status=$?
    tail -n 12 "$folder/$1.log"
    return "${status:-0}"
}

pids=()
if "$python" -c "import atheris" 2> /dev/null; then
    with_atheris all parsers env &
    pids+=($!)
else
    echo "no atheris (pip install \"fmtlib[fuzz]\"): parsers and verbs are not fuzzed"
fi

if [ -n "$clang" ] && "$clang" -fsanitize=fuzzer -x c - -o /dev/null \
    <<< 'int LLVMFuzzerTestOneInput(void) { return 0; }' 2> /dev/null; then
    flags=(-std=c11 -O1 -g -w -fPIC -fvisibility=hidden -ffp-contract=off -fno-trapping-math
        -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
    sources=(fmtlib/_core/src/*.c)
    if [ -n "${SANITIZED:-}" ]; then sources+=(fmtlib/_core/counters/*.c); fi
    # those that take longest among the first
    printf '%s\n' "${sources[@]}" | sort -r | xargs -P "$(nproc)" -I {} sh -c '
        source=$1; shift
        object=$1/$(basename "$(dirname "$source")")-$(basename "$source" .c).o; shift
        [ "$object" -nt "$source" ] || "$@" -c "$source" -o "$object"' \
        sh {} "$folder/objects" "$clang" "${flags[@]}" -fsanitize="fuzzer-no-link,$sanitize"
    "$clang" "${flags[@]}" -fsanitize="fuzzer,$sanitize" -Ifmtlib/_core/src tests/fuzz/kernels.c \
        "$folder"/objects/src-*.o -lm -o "$folder/fuzz-kernels"
    "$folder/fuzz-kernels" "${options[@]}" -max_len=4096 -artifact_prefix="$folder/kernels-" \
        "$folder/kernels" > "$folder/kernels.log" 2>&1 || { tail -n 30 "$folder/kernels.log"; exit 1; }
    tail -n 8 "$folder/kernels.log"
else
    echo "no clang with libFuzzer (apt install clang libclang-rt-dev): kernels are not fuzzed"
fi

if [ -n "${SANITIZED:-}" ]; then
    cp -r fmtlib "$folder/"
    include=(-I"$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')"
        -I"$("$python" -c 'import numpy; print(numpy.get_include())')" -DNPY_NO_DEPRECATED_API=NPY_2_0_API_VERSION
        -DNPY_TARGET_VERSION=NPY_2_0_API_VERSION)
    for pair in kernels:src counting:counters; do
        module=${pair%:*} of=${pair#*:}
        suffix=$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
        "$clang" "${flags[@]}" "${include[@]}" -I"fmtlib/_core/$of" \
            -c "fmtlib/_core/$module.c" -o "$folder/objects/$module.o"
        "$clang" -shared "$folder/objects/$module.o" "$folder/objects/$of"-*.o -lm \
            -o "$folder/fmtlib/_core/$module$suffix"
    done
    runtime=$("$python" -c 'import atheris; print(atheris.path())')/asan_with_fuzzer.so
    with_atheris verbs verbs env ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 \
        LD_PRELOAD="$runtime" PYTHONPATH="$folder"
fi

for pid in "${pids[@]}"; do wait "$pid"; done
