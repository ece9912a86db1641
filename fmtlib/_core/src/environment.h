/* The floating-point environment of a kernel.
 *
 * Kernels that round by hardware need round-to-nearest-even and subnormals, whatever the calling
 * thread has set (torch.set_flush_denormal, fesetround, -ffast-math libraries).  A kernel's entry
 * takes the default environment and gives the caller's back, flags included, so that no "inexact"
 * or "invalid" of an intermediate step is ever seen outside.  It costs a few nanoseconds.
 */
#ifndef FMTLIB_ENVIRONMENT_H
#define FMTLIB_ENVIRONMENT_H

#if defined(__x86_64__)
#include <xmmintrin.h>

typedef unsigned fmt_environment;

static inline fmt_environment fmt_enter(void)
{
    const fmt_environment callers = _mm_getcsr();
    _mm_setcsr(0x1f80); /* nearest-even, all exceptions masked, no DAZ, no FTZ */
    return callers;
}

static inline void fmt_leave(fmt_environment callers) { _mm_setcsr(callers); }

#else
#include <fenv.h>

typedef fenv_t fmt_environment;

static inline fmt_environment fmt_enter(void)
{
    fmt_environment callers;
    fegetenv(&callers);
    fesetenv(FE_DFL_ENV);
    return callers;
}

static inline void fmt_leave(fmt_environment callers) { fesetenv(&callers); }
#endif

#endif
