/* The coder of groups for x86-64-v4 with VBMI2, which moves lanes together in one instruction; all else
 * is x86-64-v4's. */
#include <string.h>

#include "kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("arch=x86-64-v4,avx512vbmi2"))),               \
                             apply_to = function)
#else
#pragma GCC target("arch=x86-64-v4,avx512vbmi2")
#endif

#define BIT_DEPOSIT 1
#define LANES 2
#include "words.inc.h"
#include "group_coder.inc.h"

const fmt_group_coder fmt_group_coder_x86_64_v4_vbmi2[3] = {
    {encode_groups8, decode_groups8},
    {encode_groups16, decode_groups16},
    {encode_groups32, decode_groups32},
};

#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int fmt_translation_unit_is_empty_here; /* ISO C wants a declaration */
#endif
