/* Chooses the kernel table: once at import, so a relaxed pointer is enough. */
#include "kernels.h"

#include <stddef.h>
#include <string.h>

static const sp_kernels *in_use = &sp_kernels_baseline;

static int usable(int i, const sp_kernels **table)
{
    switch (i) {
    case 0: *table = &sp_kernels_baseline; return 1;
#ifdef SP_HAVE_AVX2
    case 1: *table = &sp_kernels_avx2; return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
#ifdef SP_HAVE_AVX512
    case 2:
        *table = &sp_kernels_avx512;
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#endif
    default: return -1;
    }
}

const char *sp_isa_available(int i)
{
    const sp_kernels *table;
    for (int k = 0, answer; (answer = usable(k, &table)) >= 0; k++)
        if (answer && i-- == 0)
            return table->name;
    return NULL;
}

sp_status sp_isa_select(const char *name)
{
    const sp_kernels *table, *found = NULL;
    for (int k = 0, answer; (answer = usable(k, &table)) >= 0; k++)
        if (answer && (!name || strcmp(name, table->name) == 0))
            found = table;
    if (!found)
        return SP_BAD_ISA;
    in_use = found;
    return SP_OK;
}

const char *sp_isa(void) { return in_use->name; }

const sp_kernels *sp_kernels_in_use(void) { return in_use; }
