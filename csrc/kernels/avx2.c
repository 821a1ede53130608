/* x86-64: AVX2 with fused multiply-add. */
#define NAME avx2
#define VECTOR 8
#define TILE_VECTORS 2
#include "table.h"
