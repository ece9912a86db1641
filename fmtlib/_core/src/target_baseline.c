/* The stages for the machine's baseline: SSE2 on x86-64, NEON on arm64. */
#include <math.h>
#include <string.h>

#include "kernels.h"

#define TARGET fmt_kernels_baseline
#define TARGET_NAME "baseline"
#define VECTOR_BYTES 16
#include "kernels.inc.h"
