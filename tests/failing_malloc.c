/* Preloaded: the n-th call of malloc, calloc or realloc from our modules fails, NumPy's core among them or
 * not. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);

static __thread long left; /* 0: none fails */
static __thread int numpys;

void fail_allocation(long n, int of_numpy)
{
    left = n;
    numpys = of_numpy;
}
long allocations_left(void) { return left; }

static int fails(const void *caller)
{
    Dl_info who;
    if (left <= 0 || !dladdr(caller, &who) || !who.dli_fname
        || !(strstr(who.dli_fname, "/fmtlib/_core/")
             || (numpys && strstr(who.dli_fname, "_multiarray_umath"))))
        return 0;
    if (--left)
        return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_realloc(old, size);
}
