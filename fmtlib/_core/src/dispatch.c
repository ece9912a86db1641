/* Which table of stages runs: the best that this machine has, or the one a test asks for; and from
 * which size on results go past this machine's caches. */
#include <string.h>
#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h> /* sysconf */
#endif

#include "kernels.h"
#include "stream.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

const fmt_kernels *fmt_active = &fmt_kernels_baseline;

#if defined(__x86_64__)
static int has_v3(void)
{
    unsigned eax, ebx, ecx = 0, edx; /* F16C; not all compilers have a name for it */
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
           && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2")
           && __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C);
}

static int has_v4(void)
{
    return has_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
           && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq")
           && __builtin_cpu_supports("avx512vl");
}

/* Integer dot products in one instruction, which the levels of x86-64 do not know of. */
static int has_v3_vnni(void)
{
#if defined(FMTLIB_EMULATE_VNNI)
    return has_v3();
#else
    unsigned eax = 0, ebx, ecx, edx; /* AVX-VNNI; compilers have no name for it yet */
    return has_v3() && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax & 1 << 4);
#endif
}

static int has_v4_vnni(void)
{
#if defined(FMTLIB_EMULATE_VNNI)
    return has_v3();
#else
    return has_v4() && __builtin_cpu_supports("avx512vnni");
#endif
}

/* On all machines but the first that had VNNI. */
static int has_v4_vbmi2(void) { return has_v4() && __builtin_cpu_supports("avx512vbmi2"); }

static const fmt_kernels *with_integer_dot(fmt_kernels *to, const fmt_kernels *from,
                                           const char *name, const fmt_integer_dot *kernels)
{
    *to = *from;
    to->name = name;
    to->integer_dot = kernels;
    return to;
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
    static fmt_kernels v3_vnni, v4_vnni; /* made once: fmt_active may point at them */
    if (strcmp(name, "x86-64-v3-vnni") == 0 && has_v3_vnni())
        return v3_vnni.name ? &v3_vnni
                            : with_integer_dot(&v3_vnni, &fmt_kernels_x86_64_v3, "x86-64-v3-vnni",
                                               &fmt_integer_dot_x86_64_v3_vnni);
    if (strcmp(name, "x86-64-v4-vnni") == 0 && has_v4_vnni()) {
        if (v4_vnni.name)
            return &v4_vnni;
        with_integer_dot(&v4_vnni, has_v4() ? &fmt_kernels_x86_64_v4 : &fmt_kernels_x86_64_v3,
                         "x86-64-v4-vnni", &fmt_integer_dot_x86_64_v4_vnni);
        for (int i = 0; i < 3 && has_v4_vbmi2(); i++)
            v4_vnni.compress[i].coder = fmt_group_coder_x86_64_v4_vbmi2[i];
        return &v4_vnni;
    }
#endif
    return NULL;
}

size_t fmt_streamed_from = SIZE_MAX;

void fmt_find_caches(void)
{
    enum { LEAST = 32 << 20 }; /* that of few machines is smaller, but some do not tell */
    long last = 0;
#if defined(_SC_LEVEL3_CACHE_SIZE)
    last = sysconf(_SC_LEVEL3_CACHE_SIZE);
#endif
    fmt_streamed_from = last > LEAST ? (size_t)last : LEAST;
}

const fmt_kernels *fmt_best(void)
{
    static const char *const best_first[]
        = {"x86-64-v4-vnni", "x86-64-v4", "x86-64-v3-vnni", "x86-64-v3"};
    const fmt_kernels *best = NULL;
    for (size_t i = 0; i < sizeof best_first / sizeof *best_first; i++) { /* all are made here */
        const fmt_kernels *found = fmt_find(best_first[i]);
        best = best ? best : found;
    }
    return best ? best : &fmt_kernels_baseline;
}
