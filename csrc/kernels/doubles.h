/* What is done in float64: gates, and the probabilities of a prediction. exp is right to about a unit in the last place. */
typedef double d8 __attribute__((vector_size(64), may_alias, aligned(8)));
typedef int64_t l8 __attribute__((vector_size(64), may_alias));
typedef float f8_anywhere __attribute__((vector_size(32), may_alias, aligned(4)));

#define CD8(p) (*(const d8 *)(p))

INLINE d8 choose_d(l8 mask, d8 yes, d8 no) { return (d8)((mask & (l8)yes) | (~mask & (l8)no)); }

INLINE double sum_lanes_d(d8 x) { return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7])); }

/* e^x for x <= 0, zero below -700. */
INLINE d8 exp_d(d8 x)
{
    const d8 magic = (d8){0} + 6755399441055744.0; /* 1.5 * 2^52 */
    const l8 tiny = x < -700.0;
    x = choose_d(tiny, (d8){0}, x);
    const d8 shifted = x * 1.4426950408889634 + magic, n = shifted - magic;
    const d8 r = (x - n * 6.93145751953125e-1) - n * 1.42860682030941723212e-6;
    d8 p = (d8){0} + 1.0 / 6227020800.0;
    const double c[] = {
        1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040, 1.0 / 720,
        1.0 / 120,       1.0 / 24,       1.0 / 6,       1.0 / 2,      1.0,         1.0};
    UNROLL for (int i = 0; i < 13; i++)
        p = p * r + c[i];
    const l8 power = (((l8)shifted - (l8)magic) + 1023) << 52;
    return choose_d(tiny, (d8){0}, p * (d8)power);
}

INLINE d8 cdf(sp_family family, d8 t, d8 *slope_out)
{
    const l8 positive = t > 0;
    const d8 e = exp_d(choose_d(positive, -t, t)), one = (d8){0} + 1.0;
    if (family == SP_LAPLACE) {
        *slope_out = 0.5 * e;
        return choose_d(positive, one - 0.5 * e, 0.5 * e);
    }
    const d8 r = one / (one + e);
    *slope_out = e * r * r;
    return choose_d(positive, one, e) * r;
}

static double gates(sp_family family, int n, const double *score, const double *cost, double theta, double temperature,
                    double *gate, double *slope_out, double *sum_slope)
{
    const double inverse = 1 / temperature;
    d8 total = {0}, total_slope = {0};
    int i = 0;
    for (; i + 8 <= n; i += 8) {
        d8 d, c = (d8){0} + 1.0;
        if (cost)
            c = CD8(cost + i);
        const d8 g = cdf(family, (CD8(score + i) - theta) * inverse, &d);
        *(d8 *)(gate + i) = g;
        *(d8 *)(slope_out + i) = d;
        total += c * g;
        total_slope += c * d;
    }
    if (i < n) { /* the last few through padded copies: lanes beyond them cost nothing */
        d8 s = {0}, c = {0}, d;
        for (int k = 0; k < n - i; k++) {
            s[k] = score[i + k];
            c[k] = cost ? cost[i + k] : 1.0;
        }
        const d8 g = cdf(family, (s - theta) * inverse, &d);
        for (int k = 0; k < n - i; k++) {
            gate[i + k] = g[k];
            slope_out[i + k] = d[k];
        }
        total += c * g;
        total_slope += c * d;
    }
    *sum_slope = sum_lanes_d(total_slope);
    return sum_lanes_d(total);
}

/* Sums along loops live in native vectors, eight doubles in PARTS of them: so every build fuses the same operations. */
enum { PARTS = 16 / VECTOR, PART = VECTOR / 2 };
typedef double dvec __attribute__((vector_size(8 * (VECTOR / 2)), may_alias, aligned(8)));
typedef int64_t lvec __attribute__((vector_size(8 * (VECTOR / 2)), may_alias));

#define DVEC(p) (*(dvec *)(p))
#define CDVEC(p) (*(const dvec *)(p))

/* p, or if fewer than eight numbers are left a copy with zeros beyond them. */
INLINE const double *eight(const double *p, int left, double few[8])
{
    if (left >= 8)
        return p;
    for (int k = 0; k < 8; k++)
        few[k] = k < left ? p[k] : 0;
    return few;
}

INLINE double sum_parts(const dvec sum[PARTS])
{
    double lanes[8];
    UNROLL for (int p = 0; p < PARTS; p++)
        DVEC(lanes + p * PART) = sum[p];
    return sum_lanes_d(CD8(lanes));
}

INLINE dvec slopes(sp_family family, dvec g)
{
    const lvec low = g < 0.5;
    if (family == SP_LOGISTIC)
        return g * (1.0 - g);
    return (dvec)((low & (lvec)g) | (~low & (lvec)(1.0 - g)));
}

static void logistic_sums(int n, const double *gate, const double *cost, double sum[4])
{
    dvec s[4][PARTS] = {{{0}}};
    double few[2][8], ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    for (int i = 0; i < n; i += 8) { /* a gate of zero adds nothing */
        const double *gates = eight(gate + i, n - i, few[0]);
        const double *costs = cost ? eight(cost + i, n - i, few[1]) : ones;
        UNROLL for (int p = 0; p < PARTS; p++) {
            const dvec g = CDVEC(gates + p * PART), c = CDVEC(costs + p * PART);
            const dvec q = g * (1.0 - g), bend = 1.0 - 2.0 * g;
            s[0][p] += c * q;
            s[1][p] += c * (q * bend);
            s[2][p] += c * (q * (1.0 - 6.0 * q));
            s[3][p] += c * (q * bend * (1.0 - 12.0 * q));
        }
    }
    for (int k = 0; k < 4; k++)
        sum[k] = sum_parts(s[k]);
}

static void logistic_move(int n, double *gate, double step)
{
    const double half = step / 2, third = step / 3, quarter = step / 4;
    double few[8];
    for (int i = 0; i < n; i += 8) {
        const double *from = eight(gate + i, n - i, few);
        double *to = n - i < 8 ? few : gate + i;
        UNROLL for (int p = 0; p < PARTS; p++) {
            const dvec g = CDVEC(from + p * PART), q = g * (1.0 - g), bend = 1.0 - 2.0 * g;
            const dvec bend_3 = (1.0 - 6.0 * q) - quarter * (bend * (1.0 - 12.0 * q));
            const dvec bend_2 = bend - third * bend_3;
            DVEC(to + p * PART) = g - step * (q * (1.0 - half * bend_2));
        }
        for (int k = 0; n - i < 8 && k < n - i; k++)
            gate[i + k] = few[k];
    }
}

static void falls(sp_family family, int n, const double *gate, const double *cost, const double *score,
                  const double *next, double sum[3])
{
    dvec s[3][PARTS] = {{{0}}};
    double few[4][8], ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    for (int i = 0; i < n; i += 8) {
        const double *gates = eight(gate + i, n - i, few[0]), *before = eight(score + i, n - i, few[1]);
        const double *now = eight(next + i, n - i, few[2]);
        const double *costs = cost ? eight(cost + i, n - i, few[3]) : ones;
        UNROLL for (int p = 0; p < PARTS; p++) {
            const dvec c = CDVEC(costs + p * PART), d = slopes(family, CDVEC(gates + p * PART));
            s[0][p] += c * d;
            s[1][p] += c * (d * CDVEC(before + p * PART));
            s[2][p] += c * (d * CDVEC(now + p * PART));
        }
    }
    for (int k = 0; k < 3; k++)
        sum[k] = sum_parts(s[k]);
}

static void score_gradient(sp_family family, int n, const double *gate, double temperature, const double *u,
                           double *dscore)
{
    dvec s[2][PARTS] = {{{0}}};
    double few[2][8];
    for (int i = 0; i < n; i += 8) {
        const double *gates = eight(gate + i, n - i, few[0]), *us = eight(u + i, n - i, few[1]);
        UNROLL for (int p = 0; p < PARTS; p++) {
            const dvec d = slopes(family, CDVEC(gates + p * PART));
            s[0][p] += d;
            s[1][p] += d * CDVEC(us + p * PART);
        }
    }
    const double fall = sum_parts(s[0]), mu = fall > 0 ? sum_parts(s[1]) / fall : 0, inverse = 1 / temperature;
    for (int i = 0; i < n; i += 8) {
        const double *gates = eight(gate + i, n - i, few[0]), *us = eight(u + i, n - i, few[1]);
        double *to = n - i < 8 ? few[0] : dscore + i;
        UNROLL for (int p = 0; p < PARTS; p++)
            DVEC(to + p * PART) = slopes(family, CDVEC(gates + p * PART)) * ((CDVEC(us + p * PART) - mu) * inverse);
        for (int k = 0; n - i < 8 && k < n - i; k++)
            dscore[i + k] = few[0][k];
    }
}

static void probabilities(int64_t n, const float *z, double *p)
{
    for (int64_t i = 0; i < n; i += 8) {
        const int m = n - i < 8 ? (int)(n - i) : 8;
        float few[8] = {0};
        for (int k = 0; k < m && m < 8; k++)
            few[k] = z[i + k];
        const d8 x = __builtin_convertvector(*(const f8_anywhere *)(m < 8 ? few : z + i), d8);
        const l8 up = x >= 0;
        const d8 e = exp_d(choose_d(up, -x, x)), large = 1.0 / (1.0 + e), small = e * large;
        const d8 of[2] = {choose_d(up, small, large), choose_d(up, large, small)};
        for (int k = 0; k < m; k++) {
            p[2 * (i + k)] = of[0][k];
            p[2 * (i + k) + 1] = of[1][k];
        }
    }
}
