/* The block matmul for x86-64-v4 with AVX512-VNNI; all else is x86-64-v4's. */
#include <math.h>
#include <string.h>

#include "kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#if defined(FMTLIB_EMULATE_VNNI) /* for tests: the plain twins of its instructions */
#define DOT_PLAIN 1
#define ARCH "arch=x86-64-v3"
#else
#define DOT_PLAIN 0
#define ARCH "arch=x86-64-v4,avx512vnni"
#endif
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target(ARCH))), apply_to = function)
#else
#define PRAGMA(X) _Pragma(#X)
#define SET_TARGET(X) PRAGMA(GCC target(X))
SET_TARGET(ARCH)
#endif

#define INTEGER_DOT fmt_integer_dot_x86_64_v4_vnni
#define DOT_WIDTH 64
#define DOT_ROWS 8
#define DOT_MADDUBS 0
#define DOT_VNNI 1
#include "integer_dot.inc.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int fmt_translation_unit_is_empty_here; /* ISO C wants a declaration */
#endif
