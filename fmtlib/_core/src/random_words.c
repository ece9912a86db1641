/* Random words of the elements of a part of an array, run by run. */
#include "kernels.h"

void fmt_random_words(const fmt_key *key, ptrdiff_t index, uint32_t *words, ptrdiff_t n)
{
    if (!key->starts) {
        fmt_active->philox(key->seed, key->stream, key->first + (uint64_t)index, words, n);
        return;
    }
    index += key->before;
    const uint64_t *start = key->starts + index / key->run;
    ptrdiff_t skip = index % key->run;
    for (ptrdiff_t left = n; left > 0; start++, skip = 0) {
        const ptrdiff_t take = left < key->run - skip ? left : key->run - skip;
        fmt_active->philox(key->seed, key->stream, *start + (uint64_t)skip, words, take);
        words += take;
        left -= take;
    }
}
