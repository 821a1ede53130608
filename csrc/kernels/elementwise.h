/* Everything in float32 beside the matrix product: activations, losses, optimisers.
 *
 * Vectors here are 64 bytes on every instruction set (the compiler splits them), so that sums over lanes have one order.
 * Splitting is clumsy where they live in memory across a loop: there native vectors do it, several to 16 lanes.
 * exp, log1p and tanh are polynomials after Cephes (S. L. Moshier, Methods and Programs for Mathematical Functions,
 * 1989): two units in the last place.
 */
#include <math.h>

typedef float f16 __attribute__((vector_size(64), may_alias));
typedef float f16_anywhere __attribute__((vector_size(64), may_alias, aligned(4)));
typedef int32_t i16 __attribute__((vector_size(64), may_alias));

#define F16(p) (*(f16 *)(p))
#define CF16(p) (*(const f16 *)(p))

INLINE f16 choose(i16 mask, f16 yes, f16 no) { return (f16)((mask & (i16)yes) | (~mask & (i16)no)); }
INLINE f16 magnitude(f16 x) { return (f16)((i16)x & 0x7fffffff); }

/* Lanes of x and then of y chosen by index. */
#ifdef __clang__
#define shuffle(x, y, at) \
    ({ \
        enum { LANES = sizeof(x) / 4 }; \
        __typeof__(x) chosen; \
        UNROLL for (int i = 0; i < LANES; i++) \
            chosen[i] = (at)[i] < LANES ? (x)[(at)[i]] : (y)[(at)[i] - LANES]; \
        chosen; \
    })
#else
#define shuffle __builtin_shuffle
#endif

INLINE float sum_lanes(f16 x)
{
    x += shuffle(x, x, ((i16){8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7}));
    x += shuffle(x, x, ((i16){4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11}));
    x += shuffle(x, x, ((i16){2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13}));
    return x[0] + x[1];
}

/* e^x for x <= 0, zero below -87. */
INLINE f16 exp_f(f16 x)
{
    const f16 magic = (f16){0} + 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    const i16 tiny = x < -87.0f;
    x = choose(tiny, (f16){0}, x);
    const f16 n = (x * 1.44269504088896341f + magic) - magic;
    const f16 r = x - n * 0.693359375f - n * -2.12194440e-4f;
    f16 p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    const i16 power = (__builtin_convertvector(n, i16) + 127) << 23;
    return choose(tiny, (f16){0}, p * (f16)power);
}

/* log(1 + t) for 0 <= t <= 1: 2 artanh(t/(2 + t)). */
INLINE f16 log1p_f(f16 t)
{
    const f16 s = t / (2.0f + t), q = s * s;
    f16 p = q * (1.0f / 15) + 1.0f / 13;
    p = p * q + 1.0f / 11;
    p = p * q + 1.0f / 9;
    p = p * q + 1.0f / 7;
    p = p * q + 1.0f / 5;
    p = p * q + 1.0f / 3;
    p = p * q + 1.0f;
    return 2.0f * s * p;
}

INLINE f16 sigmoid_f(f16 z)
{
    const f16 e = exp_f(-magnitude(z));
    return choose(z >= 0, (f16){0} + 1.0f, e) / (1.0f + e);
}

INLINE f16 tanh_f(f16 z)
{
    const f16 size = magnitude(z), e = exp_f(-2.0f * size), q = z * z;
    const f16 large = (1.0f - e) / (1.0f + e);
    f16 p = q * -5.70498872745e-3f + 2.06390887954e-2f;
    p = p * q + -5.37397155531e-2f;
    p = p * q + 1.33314422036e-1f;
    p = p * q + -3.33332819422e-1f;
    p = p * q * z + z;
    return choose(size < 0.625f, p, choose(z < 0, -large, large));
}

static void activate(sp_activation activation, int64_t n, float *z)
{
    switch (activation) {
    case SP_LINEAR: break;
    case SP_RELU:
        for (int64_t i = 0; i < n; i += 16)
            F16(z + i) = choose(F16(z + i) < 0, (f16){0}, F16(z + i));
        break;
    case SP_LEAKY_RELU:
        for (int64_t i = 0; i < n; i += 16)
            F16(z + i) = choose(F16(z + i) > 0, F16(z + i), SP_LEAKY_SLOPE * F16(z + i));
        break;
    case SP_TANH:
        for (int64_t i = 0; i < n; i += 16)
            F16(z + i) = tanh_f(F16(z + i));
        break;
    case SP_SIGMOID:
        for (int64_t i = 0; i < n; i += 16)
            F16(z + i) = sigmoid_f(F16(z + i));
        break;
    }
}

static void slope(sp_activation activation, int64_t n, float *h)
{
    const f16 one = (f16){0} + 1.0f;
    switch (activation) {
    case SP_LINEAR:
        for (int64_t i = 0; i < n; i += 16)
            F16(h + i) = one;
        break;
    case SP_RELU:
        for (int64_t i = 0; i < n; i += 16)
            F16(h + i) = choose(F16(h + i) > 0, one, (f16){0});
        break;
    case SP_LEAKY_RELU:
        for (int64_t i = 0; i < n; i += 16)
            F16(h + i) = choose(F16(h + i) > 0, one, SP_LEAKY_SLOPE * one);
        break;
    case SP_TANH:
        for (int64_t i = 0; i < n; i += 16)
            F16(h + i) = one - F16(h + i) * F16(h + i);
        break;
    case SP_SIGMOID:
        for (int64_t i = 0; i < n; i += 16)
            F16(h + i) = F16(h + i) * (one - F16(h + i));
        break;
    }
}

/* Every fourth row in a sum of its own, whatever the number of columns: a single sum would wait for itself. */
INLINE void sum_columns(const int vectors, int rows, const float *d, int64_t stride, float *out, bool add)
{
    enum { SUMS = 4, MOST = 4 };
    vec sum[MOST][SUMS] = {{{0}}};
    int r = 0;
    for (; r + SUMS <= rows; r += SUMS) UNROLL
        for (int s = 0; s < SUMS; s++) UNROLL
            for (int i = 0; i < vectors; i++)
                sum[i][s] += LOAD(d + (r + s) * stride + i * VECTOR);
    for (; r < rows; r++) UNROLL
        for (int i = 0; i < vectors; i++)
            sum[i][0] += LOAD(d + r * stride + i * VECTOR);
    UNROLL for (int i = 0; i < vectors; i++) {
        vec all = (sum[i][0] + sum[i][1]) + (sum[i][2] + sum[i][3]);
        if (add)
            all += LOAD(out + i * VECTOR);
        STORE(out + i * VECTOR, all);
    }
}

static void column_sums(int rows, int n, const float *d, int64_t stride, float *out, bool add)
{
    enum { MANY = VECTOR == 16 ? 4 : 2 };
    int j = 0;
    for (; j + MANY * VECTOR <= n; j += MANY * VECTOR)
        sum_columns(MANY, rows, d + j, stride, out + j, add);
    for (; j < n; j += VECTOR)
        sum_columns(1, rows, d + j, stride, out + j, add);
}

static void gather(int rows, int n, const float *x, const int32_t *order, float *restrict out, int64_t stride)
{
    enum { AHEAD = 20 };
    if (n == 1) { /* a call of memcpy would cost more than it copies */
        for (int r = 0; r < rows; r++)
            out[r * stride] = x[order[r]];
        return;
    }
    for (int r = 0; r < rows; r++) {
        const float *row = x + (int64_t)order[r] * n;
        float *to = out + r * stride;
        if (n < 16) {
            for (int j = 0; j < n; j++)
                to[j] = row[j];
            continue;
        }
        if (r + AHEAD < rows) { /* rows come in random order: no hardware foresees them */
            const float *next = x + (int64_t)order[r + AHEAD] * n;
            for (int j = 0; j < n; j += 16)
                __builtin_prefetch(next + j);
            __builtin_prefetch(next + n - 1);
        }
        for (int j = 0; j + 16 <= n; j += 16)
            *(f16_anywhere *)(to + j) = *(const f16_anywhere *)(row + j);
        *(f16_anywhere *)(to + n - 16) = *(const f16_anywhere *)(row + n - 16);
    }
}

static void adam(int64_t n, float *restrict w, const float *restrict grad, float *restrict m, float *restrict v,
                 float keep, const float *restrict c)
{
    const float rate = c[0], c1 = c[1], c2 = c[2], correction = c[3], epsilon = c[4];
    for (int64_t i = 0; i < n; i++) {
        m[i] += c1 * (grad[i] - m[i]);
        v[i] += c2 * (grad[i] * grad[i] - v[i]);
        w[i] = w[i] * keep - rate * m[i] / (sqrtf(v[i]) * correction + epsilon);
    }
}

static void sgd(int64_t n, float *restrict w, const float *restrict grad, float *restrict velocity, float keep,
                const float *restrict c, bool nesterov)
{
    const float momentum = c[0], rate = c[1], ahead = c[2], now = nesterov ? rate : 0.0f;
    for (int64_t i = 0; i < n; i++) {
        velocity[i] = momentum * velocity[i] - rate * grad[i];
        w[i] = w[i] * keep + (ahead * velocity[i] - now * grad[i]);
    }
}

static float gate_gradient(int64_t n, const float *w, const float *grad, int n_grads, int64_t stride, float gate,
                           bool add, float *out)
{
    enum { PARTS = 16 / VECTOR };
    float lanes[16] __attribute__((aligned(64)));
    vec along[PARTS] = {{0}};
    for (int64_t i = 0; i < n; i += 16) UNROLL
        for (int p = 0; p < PARTS; p++) {
            const int64_t at = i + p * VECTOR;
            vec sum = LOAD(grad + at);
            for (int s = 1; s < n_grads; s++)
                sum += LOAD(grad + s * stride + at);
            along[p] += sum * LOAD(w + at);
            STORE(out + at, add ? LOAD(out + at) + gate * sum : gate * sum);
        }
    UNROLL for (int p = 0; p < PARTS; p++)
        STORE(lanes + p * VECTOR, along[p]);
    return sum_lanes(CF16(lanes));
}

static void update(const sp_rule *rule, const sp_update_job *job)
{
    float total[SP_PANEL] __attribute__((aligned(64)));
    const bool direct = job->n_grads == 1 && !job->gate;
    const int64_t step = direct ? job->n : SP_PANEL; /* a user's own arrays are neither aligned nor padded */
    for (int k = 0; k < job->rows; k++)
        for (int64_t i = k * job->n; i < (k + 1) * job->n; i += step) {
            const int64_t left = (k + 1) * job->n - i, n = left < step ? left : step;
            const float *grad = job->grad + i;
            if (!direct) {
                const float along = gate_gradient(n, job->w + i, grad, job->n_grads, job->grad_stride,
                                                  job->gate ? job->gate[k] : 1.0f, false, total);
                if (job->u)
                    job->u[k] += along;
                grad = total;
            }
            if (rule->kind == SP_ADAM)
                adam(n, job->w + i, grad, job->m + i, job->v + i, job->keep, rule->c);
            else
                sgd(n, job->w + i, grad, job->m + i, job->keep, rule->c, rule->nesterov);
        }
}

static void binary_crossentropy(int n, const float *z, const float *y, float *loss, float *dz)
{
    for (int i = 0; i < n; i += 16) {
        const f16 x = CF16(z + i), t = CF16(y + i), e = exp_f(-magnitude(x));
        F16(loss + i) = choose(x > 0, x, (f16){0}) + log1p_f(e) - t * x;
        F16(dz + i) = choose(x >= 0, (f16){0} + 1.0f, e) / (1.0f + e) - t;
    }
}

static double exponentials(int n, const float *z, float *p)
{
    f16 sum = {0};
    for (int j = 0; j < n; j += 16) {
        F16(p + j) = exp_f(CF16(z + j));
        sum += CF16(p + j);
    }
    return sum_lanes(sum);
}
