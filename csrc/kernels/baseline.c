/* Any processor: SSE2 on x86-64, NEON on ARM. */
#define NAME baseline
#define VECTOR 4
#ifdef __aarch64__
#define TILE_VECTORS 4
#else
#define TILE_VECTORS 2
#endif
#include "table.h"
