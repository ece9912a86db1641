/* The stages for x86-64-v4.  The target is set here and not by flags, since setuptools has none per
 * file; headers come first, so that only our own code is compiled for it. */
#include <math.h>
#include <string.h>

#include "kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("arch=x86-64-v4"))), apply_to = function)
#else
#pragma GCC target("arch=x86-64-v4")
#endif

#define TARGET fmt_kernels_x86_64_v4
#define TARGET_NAME "x86-64-v4"
#define BIT_DEPOSIT 1
#define LANES 1
#define CRC_INSTRUCTION 1
#define VECTOR_BYTES 64
#define INTEGER_DOT fmt_integer_dot_x86_64_v4
#define DOT_WIDTH 64
#define DOT_ROWS 8
#define DOT_PLAIN 0
#define DOT_MADDUBS 1
#define DOT_VNNI 0
#include "integer_dot.inc.h"
#include "kernels.inc.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int fmt_translation_unit_is_empty_here; /* ISO C wants a declaration */
#endif
