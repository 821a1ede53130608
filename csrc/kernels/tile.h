/* The register tile: the one matrix product behind forward, backward and weight gradient.
 *
 *     C = finish(start + A B)      rows of C over i, columns over j, the sum over p, always from p = 0 up
 *
 * A is read one float at a time and broadcast, so it may be row- or column-major; B and C are read by vectors. The tile
 * keeps tile_rows[vectors] x vectors sums in registers: arrays of fixed size, fully unrolled. Shapes are
 * template arguments of an inlined function; a table holds one instance per remainder.
 */
#ifdef __SSE__
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

enum { TILE_MAX_ROWS = 12 };

typedef float vec __attribute__((vector_size(4 * VECTOR), may_alias));
typedef int32_t vec_mask __attribute__((vector_size(4 * VECTOR), may_alias));

#define LOAD(p) (*(const vec *)(p))
#define STORE(p, x) (*(vec *)(p) = (x))

typedef struct {
    const float *a, *b, *start;
    float *c;
    int64_t ai, ap, b_row, start_row, c_row;
    bool start_spread;
    int k;
} tile_job;

/* x where it is not negative, else zero; NaN stays NaN, and -0 stays -0, which is the rule of x86's maximum too. */
INLINE vec positive(vec x)
{
#if VECTOR == 16
    return _mm512_max_ps((vec){0}, x);
#elif VECTOR == 8
    return _mm256_max_ps((vec){0}, x);
#elif defined(__SSE__)
    return _mm_max_ps((vec){0}, x);
#else
    return (vec)(~(x < 0) & (vec_mask)x);
#endif
}

/* sum += A B; one of A's strides is 1, which the loop is made for. */
INLINE void multiply(const int rows, const int vectors, const tile_job *t, const int64_t ai, const int64_t ap,
                     vec sum[TILE_MAX_ROWS][TILE_VECTORS])
{
    const float *a = t->a, *b = t->b;
    const int64_t b_row = t->b_row;
    for (int p = t->k; p > 0; p--, a += ap, b += b_row)
        UNROLL for (int i = 0; i < rows; i++)
            UNROLL for (int j = 0; j < vectors; j++)
                sum[i][j] += a[i * ai] * LOAD(b + j * VECTOR);
}

INLINE void tile(const int rows, const int vectors, const sp_finish finish, const tile_job *t)
{
    float *const to = t->c;
    const int64_t c_row = t->c_row;
    const bool backward = finish == SP_TIMES_C || finish == SP_WHERE_C_POSITIVE; /* then A is row-major */
    vec sum[TILE_MAX_ROWS][TILE_VECTORS];

    if (!backward && t->start_spread)
        UNROLL for (int i = 0; i < rows; i++)
            UNROLL for (int j = 0; j < vectors; j++)
                sum[i][j] = t->start[i * t->start_row] - (vec){0}; /* not +: that would lose the sign of -0 */
    else
        UNROLL for (int i = 0; i < rows; i++)
            UNROLL for (int j = 0; j < vectors; j++)
                sum[i][j] = LOAD(t->start + i * t->start_row + j * VECTOR);

    if (backward || t->ap == 1)
        multiply(rows, vectors, t, t->ai, 1, sum);
    else
        multiply(rows, vectors, t, 1, t->ap, sum);

    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int j = 0; j < vectors; j++) {
            float *c = to + i * c_row + j * VECTOR;
            vec x = sum[i][j];
            if (finish == SP_KEEP_POSITIVE)
                x = positive(x);
            if (finish == SP_TIMES_C)
                x *= LOAD(c);
            if (finish == SP_WHERE_C_POSITIVE)
                x = (vec)((LOAD(c) > 0) & (vec_mask)x);
            STORE(c, x);
        }
}

typedef void (*tile_function)(const tile_job *);

#define INSTANCE(rows, vectors, finish) \
    static void tile_##rows##_##vectors##_##finish(const tile_job *t) { tile(rows, vectors, finish, t); }
#define FINISHES(rows, vectors) \
    INSTANCE(rows, vectors, 0) INSTANCE(rows, vectors, 1) INSTANCE(rows, vectors, 2) INSTANCE(rows, vectors, 3)
#define TABLE_ROW(rows, vectors) \
    { tile_##rows##_##vectors##_0, tile_##rows##_##vectors##_1, tile_##rows##_##vectors##_2, tile_##rows##_##vectors##_3 }
#define ROWS_1_TO_6(X, v) X(1, v) X(2, v) X(3, v) X(4, v) X(5, v) X(6, v)
#define ROWS_7_TO_8(X, v) X(7, v) X(8, v)
#define ROWS_9_TO_12(X, v) X(9, v) X(10, v) X(11, v) X(12, v)
#define ENTRY(rows, v) [rows] = TABLE_ROW(rows, v),

/* Narrow tiles take more rows, so that enough sums are under way to hide the latency of one. */
#if TILE_VECTORS == 4
static const int tile_rows[] = {0, 12, 12, 8, 6};
ROWS_1_TO_6(FINISHES, 1) ROWS_7_TO_8(FINISHES, 1) ROWS_9_TO_12(FINISHES, 1)
ROWS_1_TO_6(FINISHES, 2) ROWS_7_TO_8(FINISHES, 2) ROWS_9_TO_12(FINISHES, 2)
ROWS_1_TO_6(FINISHES, 3) ROWS_7_TO_8(FINISHES, 3)
ROWS_1_TO_6(FINISHES, 4)
static const tile_function tiles[][TILE_MAX_ROWS + 1][SP_N_FINISHES] = {
    [1] = {ROWS_1_TO_6(ENTRY, 1) ROWS_7_TO_8(ENTRY, 1) ROWS_9_TO_12(ENTRY, 1)},
    [2] = {ROWS_1_TO_6(ENTRY, 2) ROWS_7_TO_8(ENTRY, 2) ROWS_9_TO_12(ENTRY, 2)},
    [3] = {ROWS_1_TO_6(ENTRY, 3) ROWS_7_TO_8(ENTRY, 3)},
    [4] = {ROWS_1_TO_6(ENTRY, 4)},
};
#else
static const int tile_rows[] = {0, 12, 6};
ROWS_1_TO_6(FINISHES, 1) ROWS_7_TO_8(FINISHES, 1) ROWS_9_TO_12(FINISHES, 1)
ROWS_1_TO_6(FINISHES, 2)
static const tile_function tiles[][TILE_MAX_ROWS + 1][SP_N_FINISHES] = {
    [1] = {ROWS_1_TO_6(ENTRY, 1) ROWS_7_TO_8(ENTRY, 1) ROWS_9_TO_12(ENTRY, 1)},
    [2] = {ROWS_1_TO_6(ENTRY, 2)},
};
#endif

static void product(const sp_product *job)
{
    for (int j = 0; j < job->n; j += TILE_VECTORS * VECTOR) {
        const int left = (job->n - j) / VECTOR, vectors = left < TILE_VECTORS ? left : TILE_VECTORS;
        const int64_t panel = j / SP_PANEL, column = j % SP_PANEL;
        const float *b = job->b + panel * job->b_panel + column;
        const float *start = job->start + (job->start_spread ? 0 : panel * job->start_panel + column);
        float *c = job->c + panel * job->c_panel + column;
        const int most = tile_rows[vectors];
        for (int i = 0, rows; i < job->m; i += rows) {
            const int rest = job->m - i;
            rows = rest <= most ? rest : rest < 2 * most ? (rest + 1) / 2 : most; /* a last tile of few would be slow */
            const tile_job t = {
                job->a + i * job->ai, b, start + i * job->start_row, c + i * job->c_row, job->ai, job->ap,
                job->b_row, job->start_row, job->c_row, job->start_spread, job->k,
            };
            tiles[vectors][rows][job->finish](&t);
        }
    }
}
