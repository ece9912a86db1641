/* The stages for the machine's baseline: SSE2 on x86-64, NEON on arm64. */
#include <math.h>
#include <string.h>

#include "kernels.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define TARGET fmt_kernels_baseline
#define TARGET_NAME "baseline"
#define BIT_DEPOSIT 0
#define LANES 0
#define CRC_INSTRUCTION 0
#define VECTOR_BYTES 16
#define INTEGER_DOT fmt_integer_dot_baseline
#define DOT_WIDTH 16
#define DOT_ROWS 4
#define DOT_PLAIN 1
#define DOT_MADDUBS 0
#define DOT_VNNI 0
#include "integer_dot.inc.h"
#include "kernels.inc.h"
