/* x86-64: AVX-512 F, BW, DQ, VL. */
#define NAME avx512
#define VECTOR 16
#define TILE_VECTORS 4
#include "table.h"
