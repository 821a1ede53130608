/* Fixed-point networks, bit for bit what ap_fixed arithmetic gives.
 *
 * A number is an integer times 2^-f, f = width - integer bits of its type. The cast of v 2^-k into a type is
 *
 *     TRN floor(u),   RND floor(u + 1/2),   RND_CONV the nearest integer, ties to even,     u = v 2^(f - k),
 *
 * then clipped to the limits of the type (SAT) or taken modulo 2^width (WRAP). Numbers here are int64: what they may
 * become is worked out once, when the network is made, and what could leave 62 bits is refused there, so that no
 * operation below can overflow, whatever the input.
 *
 * Dense layer: products and bias are brought to one grid. Where the accumulator holds every partial sum as it is, the
 * sum is taken there and no order matters; otherwise each product and each partial sum is cast, input by input.
 */
#include "shadowprune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 16, BITS = 62 };

static const int64_t far = (int64_t)1 << BITS; /* no integer reaches it */

typedef struct { /* from integers of one grid to a type */
    int shift;   /* bits dropped; below zero: zeros appended */
    sp_rounding rounding;
    bool saturates, nothing; /* nothing: every value that may come fits as it is */
    int64_t low, high;
} cast;

typedef struct {
    int n_in, n_out;
    int64_t *weight, *bias, *table;
    bool exact;
    cast product, sum, result, output, negative;
    sp_activation activation;
    int64_t slope;
    int n_table, table_shift;
} layer;

struct sp_fixed_net {
    sp_fixed input;
    int n_inputs, n_outputs, widest, n_layers;
    int64_t *offset;
    cast *align; /* NULL: what the input type holds enters the first layer */
    layer *layers;
    double step;
};

enum { FRACTIONS = 512 };

static bool beyond(int value, int limit) { return value < -limit || value > limit; }

static int fraction(const sp_fixed *type) { return type->width - type->integer; }
static int64_t low(const sp_fixed *type) { return type->is_signed ? -((int64_t)1 << (type->width - 1)) : 0; }
static int64_t high(const sp_fixed *type) { return ((int64_t)1 << (type->width - type->is_signed)) - 1; }

static bool possible(const sp_fixed *type)
{
    return type->width >= 1 && type->width <= BITS && type->integer >= -256 && type->integer <= 256;
}

/* --- Casts ------------------------------------------------------------------------------------------------------- */

static inline int64_t wrapped(int64_t v, int64_t low, int64_t high)
{
    return (int64_t)(((uint64_t)v - (uint64_t)low) & ((uint64_t)high - (uint64_t)low)) + low;
}

static inline int64_t apply(const cast *c, int64_t v)
{
    if (c->nothing)
        return v;
    if (c->shift > 0) {
        const int64_t half = (int64_t)1 << (c->shift - 1);
        switch (c->rounding) {
        case SP_TRN: v >>= c->shift; break;
        case SP_RND: v = (v + half) >> c->shift; break;
        case SP_RND_CONV: v = (v + half - 1 + (v >> c->shift & 1)) >> c->shift; break;
        }
    } else
        v = (int64_t)((uint64_t)v << -c->shift);
    if (!c->saturates)
        return wrapped(v, c->low, c->high);
    return v < c->low ? c->low : v > c->high ? c->high : v;
}

/* The cast of integers from least to most times 2^-from. */
static sp_status make_cast(cast *c, const sp_fixed *to, int from, int64_t least, int64_t most)
{
    const int shift = from - fraction(to);
    *c = (cast){shift, to->rounding, to->saturates, false, low(to), high(to)};
    if (least <= -far || most >= far)
        return SP_TOO_WIDE;
    if (shift >= BITS) { /* nothing of the value is left but its sign: any shift that drops all gives the same */
        if (least <= -(far >> 2) || most >= far >> 2)
            return SP_TOO_WIDE;
        c->shift = BITS - 1;
    }
    if (shift < 0 && (-shift >= BITS || least < -(far >> -shift) || most > far >> -shift))
        return SP_TOO_WIDE;
    c->nothing = shift == 0 && least >= c->low && most <= c->high;
    return SP_OK;
}

static int64_t from_double(const sp_fixed *to, double x)
{
    const double u = ldexp(x, fraction(to)), limit = ldexp(1, to->width - to->is_signed);
    double r = to->rounding == SP_RND_CONV ? rint(u) : floor(u);
    if (to->rounding == SP_RND && u - r >= 0.5) /* floor(u + 1/2) would round the sum first */
        r += 1;
    if (!to->saturates)
        return wrapped(isfinite(r) ? (int64_t)fmod(r, ldexp(1, to->width)) : 0, low(to), high(to));
    return r >= limit ? high(to) : r < (double)low(to) ? low(to) : (int64_t)r;
}

sp_status sp_fixed_cast(const sp_fixed *type, int64_t n, const double *x, int64_t *v)
{
    if (!possible(type))
        return SP_BAD_TYPE;
    for (int64_t i = 0; i < n; i++)
        v[i] = from_double(type, x[i]);
    return SP_OK;
}

/* --- Making a network -------------------------------------------------------------------------------------------- */

void sp_fixed_free(sp_fixed_net *net)
{
    if (!net)
        return;
    for (int l = 0; net->layers && l < net->n_layers; l++) {
        free(net->layers[l].weight);
        free(net->layers[l].bias);
        free(net->layers[l].table);
    }
    free(net->layers);
    free(net->offset);
    free(net->align);
    free(net);
}

static int64_t *shifted(int64_t n, const int64_t *from, int by, sp_status *status)
{
    int64_t *to = malloc((size_t)n * sizeof *to);
    if (!to) {
        *status = SP_NO_MEMORY;
        return NULL;
    }
    for (int64_t i = 0; i < n; i++) {
        if (by >= BITS || from[i] < -(far >> by) || from[i] > far >> by)
            *status = SP_TOO_WIDE;
        to[i] = (int64_t)((uint64_t)from[i] << (by < BITS ? by : 0));
    }
    return to;
}

/* Least and most that a partial sum of any output can be, inputs from least to most. */
static sp_status reach(const layer *to, int64_t *least, int64_t *most)
{
    const int64_t x_least = *least, x_most = *most;
    *least = *most = 0;
    for (int j = 0; j < to->n_out; j++) {
        int64_t down = to->bias[j] < 0 ? to->bias[j] : 0, up = to->bias[j] > 0 ? to->bias[j] : 0, a, b;
        for (int i = 0; i < to->n_in; i++) {
            const int64_t w = to->weight[(int64_t)i * to->n_out + j];
            if (__builtin_mul_overflow(w, x_least, &a) || __builtin_mul_overflow(w, x_most, &b) ||
                __builtin_add_overflow(down, a < b ? (a < 0 ? a : 0) : (b < 0 ? b : 0), &down) ||
                __builtin_add_overflow(up, a > b ? (a > 0 ? a : 0) : (b > 0 ? b : 0), &up))
                return SP_TOO_WIDE;
        }
        *least = down < *least ? down : *least;
        *most = up > *most ? up : *most;
    }
    return *least <= -far || *most >= far ? SP_TOO_WIDE : SP_OK;
}

static sp_status make_activation(layer *to, const sp_fixed_layer *from)
{
    const sp_fixed *sum = &from->result, *out = &from->output;
    const int64_t least = low(sum), most = high(sum);
    sp_status status = SP_OK;
    to->activation = from->activation;
    switch (from->activation) {
    case SP_LINEAR:
    case SP_RELU: return make_cast(&to->output, out, fraction(sum), from->activation == SP_RELU ? 0 : least, most);
    case SP_LEAKY_RELU:
        to->slope = from->slope;
        if (from->slope < 0 || __builtin_mul_overflow(least, from->slope, &(int64_t){0}))
            return SP_TOO_WIDE;
        status = make_cast(&to->negative, out, fraction(sum) + from->slope_fraction, least * from->slope, 0);
        return status ? status : make_cast(&to->output, out, fraction(sum), 0, most);
    case SP_TANH:
    case SP_SIGMOID:
        for (int i = 0; i < from->n_table; i++)
            if (from->table[i] < low(out) || from->table[i] > high(out))
                return SP_TOO_WIDE;
        to->n_table = from->n_table;
        to->table = shifted(from->n_table, from->table, 0, &status);
        to->table_shift = fraction(sum) + (from->activation == SP_TANH ? 3 : 4);
        for (int n = from->n_table; n > 1; n >>= 1)
            to->table_shift--;
        if (!status && (to->table_shift >= BITS || to->table_shift < sum->width - BITS))
            status = SP_TOO_WIDE;
        return status;
    }
    return SP_BAD_TYPE;
}

/* x: the type of the layer's inputs. */
static sp_status make_layer(layer *to, const sp_fixed_layer *from, const sp_fixed *x)
{
    if (beyond(from->weight_fraction, FRACTIONS) || beyond(from->bias_fraction, FRACTIONS) ||
        beyond(from->slope_fraction, FRACTIONS))
        return SP_TOO_WIDE;
    const int product = fraction(x) + from->weight_fraction;
    const int grid = product > from->bias_fraction ? product : from->bias_fraction;
    sp_status status = SP_OK;
    if (!possible(&from->accum) || !possible(&from->result) || !possible(&from->output))
        return SP_BAD_TYPE;
    to->n_in = from->n_in;
    to->n_out = from->n_out;
    to->weight = shifted((int64_t)from->n_in * from->n_out, from->weight, grid - product, &status);
    to->bias = shifted(from->n_out, from->bias, grid - from->bias_fraction, &status);
    if (status)
        return status;
    int64_t least = low(x), most = high(x);
    if ((status = reach(to, &least, &most)))
        return status;
    const sp_fixed *accum = &from->accum;
    const int append = fraction(accum) - grid;
    to->exact = append >= 0 && append < BITS && least >= low(accum) >> append && most <= high(accum) >> append;
    int k = grid;
    if (!to->exact) {
        if ((status = make_cast(&to->product, accum, grid, least, most)))
            return status;
        least = low(accum);
        most = high(accum);
        k = fraction(accum);
        if ((status = make_cast(&to->sum, accum, k, 2 * least, 2 * most)))
            return status;
    }
    status = make_cast(&to->result, &from->result, k, least, most);
    return status ? status : make_activation(to, from);
}

sp_status sp_fixed_new(const sp_fixed_spec *spec, sp_fixed_net **made, int *where)
{
    sp_fixed_net *net = calloc(1, sizeof *net);
    const sp_fixed *x = &spec->input;
    sp_status status = SP_OK;
    *made = NULL;
    *where = 0;
    if (!net)
        return SP_NO_MEMORY;
    net->input = spec->input;
    net->n_layers = spec->n_layers;
    net->n_inputs = net->widest = spec->layers[0].n_in;
    net->n_outputs = spec->layers[spec->n_layers - 1].n_out;
    net->layers = calloc((size_t)spec->n_layers, sizeof *net->layers);
    if (!net->layers)
        status = SP_NO_MEMORY;
    else if (!possible(x))
        status = SP_BAD_TYPE;
    if (!status && spec->shift) {
        const size_t n = (size_t)net->n_inputs;
        net->offset = calloc(n, sizeof *net->offset);
        net->align = calloc(n, sizeof *net->align);
        status = !net->offset || !net->align ? SP_NO_MEMORY : possible(&spec->aligned) ? SP_OK : SP_BAD_TYPE;
        for (size_t i = 0; i < n && !status; i++) {
            net->offset[i] = spec->offset[i];
            if (spec->offset[i] <= -far || spec->offset[i] >= far || beyond(spec->shift[i], 256))
                status = SP_TOO_WIDE;
            else
                status = make_cast(&net->align[i], &spec->aligned, fraction(x) - spec->shift[i],
                                   low(x) - spec->offset[i], high(x) - spec->offset[i]);
        }
        x = &spec->aligned;
    }
    for (int l = 0; l < spec->n_layers && !status; l++) {
        *where = l + 1;
        status = make_layer(&net->layers[l], &spec->layers[l], x);
        x = &spec->layers[l].output;
        net->widest = spec->layers[l].n_out > net->widest ? spec->layers[l].n_out : net->widest;
    }
    net->step = ldexp(1, -fraction(x));
    if (status)
        sp_fixed_free(net);
    else
        *made = net;
    return status;
}

/* --- Forward ----------------------------------------------------------------------------------------------------- */

int64_t sp_fixed_work(const sp_fixed_net *net) { return 2 * (int64_t)ROWS * net->widest; }
int sp_fixed_inputs(const sp_fixed_net *net) { return net->n_inputs; }
int sp_fixed_outputs(const sp_fixed_net *net) { return net->n_outputs; }

/* x (n_in) -> z (n_out), the sums. */
static void dense(const layer *at, const int64_t *restrict x, int64_t *restrict z)
{
    memcpy(z, at->bias, (size_t)at->n_out * sizeof *z);
    if (at->exact) {
        for (int i = 0; i < at->n_in; i++) {
            const int64_t *w = at->weight + (int64_t)i * at->n_out, v = x[i];
            if (v)
                for (int j = 0; j < at->n_out; j++)
                    z[j] += v * w[j];
        }
        return;
    }
    for (int j = 0; j < at->n_out; j++)
        z[j] = apply(&at->product, z[j]);
    for (int i = 0; i < at->n_in; i++) {
        const int64_t *w = at->weight + (int64_t)i * at->n_out;
        for (int j = 0; j < at->n_out; j++)
            z[j] = apply(&at->sum, z[j] + apply(&at->product, x[i] * w[j]));
    }
}

static int64_t look_up(const layer *at, int64_t v)
{
    const int shift = at->table_shift; /* the index is cut towards zero */
    const int64_t i = at->n_table / 2 + (shift <= 0 ? v * ((int64_t)1 << -shift) : v / ((int64_t)1 << shift));
    return at->table[i < 0 ? 0 : i >= at->n_table ? at->n_table - 1 : i];
}

static void activate(const layer *at, int64_t *z)
{
    for (int j = 0; j < at->n_out; j++) {
        const int64_t v = apply(&at->result, z[j]);
        switch (at->activation) {
        case SP_LINEAR: z[j] = apply(&at->output, v); break;
        case SP_RELU: z[j] = v > 0 ? apply(&at->output, v) : 0; break;
        case SP_LEAKY_RELU: z[j] = v > 0 ? apply(&at->output, v) : apply(&at->negative, v * at->slope); break;
        case SP_TANH:
        case SP_SIGMOID: z[j] = look_up(at, v); break;
        }
    }
}

void sp_fixed_forward(const sp_fixed_net *net, const double *x, int64_t rows, int64_t *work, double *z)
{
    int64_t *in = work, *out = work + (int64_t)ROWS * net->widest;
    for (int64_t first = 0; first < rows; first += ROWS) {
        const int n = (int)(rows - first < ROWS ? rows - first : ROWS);
        for (int r = 0; r < n; r++)
            for (int i = 0; i < net->n_inputs; i++) {
                const int64_t v = from_double(&net->input, x[(first + r) * net->n_inputs + i]);
                in[(int64_t)r * net->widest + i] = net->align ? apply(&net->align[i], v - net->offset[i]) : v;
            }
        for (int l = 0; l < net->n_layers; l++) {
            for (int r = 0; r < n; r++) {
                dense(&net->layers[l], in + (int64_t)r * net->widest, out + (int64_t)r * net->widest);
                activate(&net->layers[l], out + (int64_t)r * net->widest);
            }
            int64_t *last = in;
            in = out;
            out = last;
        }
        for (int r = 0; r < n; r++)
            for (int j = 0; j < net->n_outputs; j++)
                z[(first + r) * net->n_outputs + j] = (double)in[(int64_t)r * net->widest + j] * net->step;
    }
}

/* --- Tables ------------------------------------------------------------------------------------------------------ */

void sp_fixed_table(sp_activation activation, int n, float *table)
{
    for (int i = 0; i < n; i++) {
        const float reach = activation == SP_TANH ? 4.0f : 8.0f;
        const float u = (float)(2.0 * reach * (i - (float)n / 2.0) / (float)n);
        table[i] = activation == SP_TANH ? tanhf(u) : (float)(1.0 / (1.0f + expf(-u)));
    }
}
