/* Which table of stages runs: the best that this machine has, or the one a test asks for. */
#include <string.h>

#include "kernels.h"

const fmt_kernels *fmt_active = &fmt_kernels_baseline;

#if defined(__x86_64__)
static int has_v3(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
           && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
}

static int has_v4(void)
{
    return has_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
           && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq")
           && __builtin_cpu_supports("avx512vl");
}
#endif

const fmt_kernels *fmt_find(const char *name)
{
    if (strcmp(name, fmt_kernels_baseline.name) == 0)
        return &fmt_kernels_baseline;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (strcmp(name, fmt_kernels_x86_64_v3.name) == 0 && has_v3())
        return &fmt_kernels_x86_64_v3;
    if (strcmp(name, fmt_kernels_x86_64_v4.name) == 0 && has_v4())
        return &fmt_kernels_x86_64_v4;
#endif
    return NULL;
}

const fmt_kernels *fmt_best(void)
{
    static const char *const best_first[] = {"x86-64-v4", "x86-64-v3"};
    for (size_t i = 0; i < sizeof best_first / sizeof *best_first; i++) {
        const fmt_kernels *found = fmt_find(best_first[i]);
        if (found)
            return found;
    }
    return &fmt_kernels_baseline;
}
