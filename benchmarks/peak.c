/* The most float32 multiply-adds one core does per second: twelve independent chains of one vector each, which hide
 * the latency of the instruction; nothing is loaded or stored. Compiled on the fly by benchmarks/peak.py. */

enum { CHAINS = 12 };

/* start (CHAINS): different values, for a compiler would do equal chains once; not foldable, as float addition does
 * not associate. Returns a sum of everything, so that nothing is left out. */
#define PEAK(BYTES) \
    float peak_##BYTES(long n, float x, float y, const float *start) \
    { \
        typedef float vector __attribute__((vector_size(BYTES))); \
        vector a[CHAINS], sum = {0}; \
        for (int i = 0; i < CHAINS; i++) \
            a[i] = (vector){0} + start[i]; \
        for (long k = 0; k < n; k++) \
            for (int i = 0; i < CHAINS; i++) \
                a[i] = a[i] * x + y; \
        for (int i = 0; i < CHAINS; i++) \
            sum += a[i]; \
        float all = 0; \
        for (int i = 0; i < BYTES / 4; i++) \
            all += sum[i]; \
        return all; \
    }

PEAK(16)
PEAK(32)
PEAK(64)
