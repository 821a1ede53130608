/* Rows to columns: four columns of a vector of rows at a time, out of pieces of four floats. */
typedef float f4 __attribute__((vector_size(16), may_alias));
typedef float f4_anywhere __attribute__((vector_size(16), may_alias, aligned(4)));

/* Four floats of each of the rows i, i + 4, i + 8 ... `stride` apart; zeros beyond the last. */
INLINE vec pieces(const float *x, int64_t stride, int i, const int last)
{
    static const float nothing[4] = {0};
    const f4_anywhere *p[VECTOR / 4];
    UNROLL for (int q = 0; q < VECTOR / 4; q++)
        p[q] = (const f4_anywhere *)(i + 4 * q <= last ? x + (i + 4 * q) * stride : nothing);
#if VECTOR == 16
    const __m256 low = _mm256_insertf128_ps(_mm256_castps128_ps256(*p[0]), *p[1], 1);
    return _mm512_insertf32x4(_mm512_insertf32x4(_mm512_castps256_ps512(low), *p[2], 2), *p[3], 3);
#elif VECTOR == 8
    return _mm256_insertf128_ps(_mm256_castps128_ps256(*p[0]), *p[1], 1);
#else
    return *p[0];
#endif
}

/* In each four lanes: two of x, from `first` on, and the same two of y, in turns or not. */
INLINE vec mix(const int first, const bool turns, vec x, vec y)
{
    vec_mask at;
    UNROLL for (int i = 0; i < VECTOR; i++) {
        const int k = i % 4, of_y = turns ? k % 2 : k / 2, from = turns ? k / 2 : k % 2;
        at[i] = VECTOR * of_y + i - k + first + from;
    }
    return shuffle(x, y, at);
}

/* Four columns of a vector of rows. */
INLINE void four_columns(const float *x, int64_t stride, const int last, float *out, int64_t out_row)
{
    const vec r0 = pieces(x, stride, 0, last), r1 = pieces(x, stride, 1, last);
    const vec r2 = pieces(x, stride, 2, last), r3 = pieces(x, stride, 3, last);
    const vec low01 = mix(0, true, r0, r1), high01 = mix(2, true, r0, r1);
    const vec low23 = mix(0, true, r2, r3), high23 = mix(2, true, r2, r3);
    STORE(out, mix(0, false, low01, low23));
    STORE(out + out_row, mix(2, false, low01, low23));
    STORE(out + 2 * out_row, mix(0, false, high01, high23));
    STORE(out + 3 * out_row, mix(2, false, high01, high23));
}

INLINE void all_columns(int n, const float *x, int64_t stride, const int last, float *out, int64_t out_row)
{
    for (int j = 0; j + 4 <= n; j += 4)
        four_columns(x + j, stride, last, out + j * out_row, out_row);
    if (n % 4) /* these overlap with those before */
        four_columns(x + n - 4, stride, last, out + (n - 4) * out_row, out_row);
}

static void columns(int rows, int n, const float *x, int64_t stride, float *out, int64_t out_row)
{
    const int padded = (rows + SP_PAD - 1) / SP_PAD * SP_PAD;
    for (int r = 0; r < padded; r += VECTOR, x += VECTOR * stride, out += VECTOR) {
        const int last = rows - r - 1;
        if (n < 4)
            for (int i = 0; i < VECTOR; i++)
                for (int j = 0; j < n; j++)
                    out[j * out_row + i] = i <= last ? x[i * stride + j] : 0;
        else if (last >= VECTOR - 1)
            all_columns(n, x, stride, VECTOR - 1, out, out_row);
        else
            all_columns(n, x, stride, last, out, out_row);
    }
}

static void fold(int rows, int cols, int panel, const float *g, const float *w, float *v, float *vt, int64_t vt_row)
{
    for (int64_t i = 0; g && i < rows; i++)
        for (int64_t at = i * panel; at < (i + 1) * panel; at += VECTOR)
            STORE(v + at, g[i] * LOAD(w + at));
    if (vt)
        columns(rows, cols, g ? v : w, panel, vt, vt_row);
}
