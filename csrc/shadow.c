/* The shadow network: scores -> gates under an exact budget.
 *
 *     g_i = F((s_i - theta)/T),   theta solves  C(g) = B
 *     C(g) = sum_i l_i g_i + sum_l p_l N_l N_(l+1),   N_l = fixed_l + sum_(i in l) g_i
 *
 * F is the logistic or the Laplace distribution function. C rises with every gate and so falls with theta: there is
 * one solution; Newton's step is taken where it stays inside the bracket known so far, a bisection elsewhere and in
 * every 16th iteration. A last step below SMALL temperatures needs no new exponentials: g moves along its slope, which
 * is right to SMALL^2. Where F is smooth and C linear a step below SHORT will do, along four terms of the Taylor
 * series.
 *
 * Gradient, with u_i = dL/dg_i, d_i = F'((s_i - theta)/T) and c_i = dC/dg_i = l_i + p_(l-1) N_(l-1) + p_l N_(l+1) in
 * layer l. Differentiating the constraint gives dtheta/ds_j = c_j d_j / sum_i c_i d_i, hence
 *
 *     dL/ds_j = (d_j/T) (u_j - c_j mu),   mu = sum_i u_i d_i / sum_i c_i d_i
 *
 * No penalty, no multiplier to tune. For c = 1 the gradients add up to zero.
 */
#include "kernels.h"

#include <math.h>
#include <stdlib.h>

enum { MAX_ITERATIONS = 1000, PIECE = 64 }; /* enough bisections for every bit of theta */
#define SMALL 1e-7
#define SHORT 4e-3
#define NEAR 8 /* temperatures: a step this short from a warm start needs no bracket */

/* F' where F = g: the slope of both families follows from the gate, without another exponential. */
static double slope_at(sp_family family, double g)
{
    if (family == SP_LOGISTIC)
        return g * (1 - g);
    return g < 0.5 ? g : 1 - g;
}

/* Where the last gate is one to the last bit, and where the last is zero. */
static void bracket(int n, const double *score, double temperature, double *low, double *high)
{
    *low = *high = score[0];
    for (int i = 1; i < n; i++) {
        *low = score[i] < *low ? score[i] : *low;
        *high = score[i] > *high ? score[i] : *high;
    }
    *low -= 40 * temperature;
    *high += 750 * temperature;
}

/* sum a b, or sum a; several sums under way hide the latency of one. */
static double dot(int n, const double *a, const double *b)
{
    double sum[4] = {0};
    int i = 0;
    for (; i + 4 <= n; i += 4)
        for (int k = 0; k < 4; k++)
            sum[k] += b ? a[i + k] * b[i + k] : a[i + k];
    for (; i < n; i++)
        sum[0] += b ? a[i] * b[i] : a[i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static bool has_pairs(const sp_cost *cost) { return cost && cost->n_layers > 0; }

/* What a gate adds of itself, without the products of layers. */
static double linear(const sp_cost *cost, int i)
{
    return cost && cost->linear ? cost->linear[i] : has_pairs(cost) ? 0 : 1;
}

/* dC/dg of a gate, price being that of a node of each layer. */
static double slope_of_cost(const sp_cost *cost, const double *price, int i)
{
    return linear(cost, i) + (has_pairs(cost) ? price[cost->layer[i]] : 0);
}

static double pairs(const sp_cost *cost, const double *width)
{
    double sum = 0;
    for (int l = 0; l + 1 < cost->n_layers; l++)
        sum += cost->pair[l] * width[l] * width[l + 1];
    return sum;
}

/* What the pairs ask for one more node of layer l at these widths. */
static double node_price(const sp_cost *cost, const double *width, int l)
{
    return (l > 0 ? cost->pair[l - 1] * width[l - 1] : 0) + (l + 1 < cost->n_layers ? cost->pair[l] * width[l + 1] : 0);
}

static void fixed_widths(const sp_cost *cost, double *width)
{
    for (int l = 0; l < cost->n_layers; l++)
        width[l] = cost->fixed[l];
}

/* C with every gate open, and with none. */
static void cost_range(const sp_cost *cost, int n, double *none, double *all)
{
    double width[SP_MAX_LAYERS + 1];
    *none = 0;
    *all = cost ? 0 : n;
    for (int i = 0; cost && i < n; i++)
        *all += linear(cost, i);
    if (has_pairs(cost)) {
        fixed_widths(cost, width);
        *none = pairs(cost, width);
        for (int i = 0; i < n; i++)
            width[cost->layer[i]] += 1;
        *all += pairs(cost, width);
    }
}

/* gate (n) at theta; returns C, *fall = sum_i c_i d_i = -T dC/dtheta. */
static double cost_at(sp_family family, int n, const double *score, const sp_cost *cost, double theta,
                      double temperature, double *gate, double *fall)
{
    const bool products = has_pairs(cost);
    double width[SP_MAX_LAYERS + 1], falls[SP_MAX_LAYERS + 1] = {0}, slope[PIECE], sum = 0, part;
    *fall = 0;
    if (products)
        fixed_widths(cost, width);
    for (int i = 0; i < n; i += PIECE) {
        const int m = n - i < PIECE ? n - i : PIECE;
        const double *lin = cost && cost->linear ? cost->linear + i : NULL;
        const double open =
            sp_kernels_in_use()->gates(family, m, score + i, lin, theta, temperature, gate + i, slope, &part);
        if (!products || lin) {
            sum += open;
            *fall += part;
        }
        for (int k = 0; products && k < m; k++) {
            width[cost->layer[i + k]] += gate[i + k];
            falls[cost->layer[i + k]] += slope[k];
        }
    }
    if (products) {
        sum += pairs(cost, width);
        for (int l = 0; l < cost->n_layers; l++)
            *fall += node_price(cost, width, l) * falls[l];
    }
    return sum;
}

/* The logistic gates at theta, moved to the budget along their Taylor series; C = sum c g exceeds it by `excess`.
   Returns the new theta. */
static double short_step(int n, const sp_cost *cost, double excess, double theta, double temperature, double *gate)
{
    double s[4]; /* sum c F', sum c F'' ... */
    sp_kernels_in_use()->logistic_sums(n, gate, cost ? cost->linear : NULL, s);
    double step = excess / s[0]; /* in temperatures */
    for (int i = 0; i < 3; i++)  /* each gains an order */
        step = (excess + step * step * (s[1] / 2 - step * (s[2] / 6 - step * s[3] / 24))) / s[0];
    sp_kernels_in_use()->logistic_move(n, gate, step);
    return theta + step * temperature;
}

double sp_gates_ahead(sp_family family, int n, const double *gate, const double *cost, const double *score_before,
                      const double *score, double theta, double temperature_before, double temperature, double more)
{
    double sum[3]; /* of c d, times one and the scores */
    sp_kernels_in_use()->falls(family, n, gate, cost, score_before, score, sum);
    const double was = (sum[1] - theta * sum[0]) / temperature_before;
    return (sum[2] - temperature * (was + more)) / sum[0];
}

sp_status sp_gates(sp_family family, int n, const double *score, const sp_cost *cost, double budget, double temperature,
                   double *theta, double *gate)
{
    double none, total, low = -INFINITY, high = INFINITY, at = *theta;
    cost_range(cost, n, &none, &total);
    if (!(budget > none) || budget > total * (1 + 1e-12))
        return SP_BAD_BUDGET;
    if (budget >= total * (1 - 1e-12)) { /* every node open: no finite theta, and none needed */
        for (int i = 0; i < n; i++)
            gate[i] = 1;
        bracket(n, score, temperature, &low, &high);
        *theta = low;
        return SP_OK;
    }
    const double tolerance = 1e-12 * total;
    bool bracketed = false;
    for (int iteration = 0; iteration < MAX_ITERATIONS; iteration++) {
        double fall;
        const double excess = cost_at(family, n, score, cost, at, temperature, gate, &fall) - budget;
        if (fabs(excess) <= tolerance) {
            *theta = at;
            return SP_OK;
        }
        const double newton = at + excess * temperature / fall;
        if (fabs(newton - at) <= SMALL * temperature) {
            for (int i = 0; i < n; i++)
                gate[i] -= slope_at(family, gate[i]) * (excess / fall);
            *theta = newton;
            return SP_OK;
        }
        if (family == SP_LOGISTIC && !has_pairs(cost) && fabs(newton - at) <= SHORT * temperature) {
            *theta = short_step(n, cost, excess, at, temperature, gate);
            return SP_OK;
        }
        const bool halve = iteration % 16 == 15; /* between two jumps of C Newton's steps can circle */
        if (!bracketed && (halve || !(fabs(newton - at) <= NEAR * temperature))) {
            bracket(n, score, temperature, &low, &high);
            bracketed = true;
        }
        if (excess > 0)
            low = at > low ? at : low;
        else
            high = at < high ? at : high;
        const bool inside = newton > low && newton < high;
        const double next = inside && !halve ? newton : 0.5 * (low + high);
        if (next == at) { /* low and high are neighbours: no double meets the budget better */
            *theta = at;
            return fabs(excess) <= 1e-6 * total ? SP_OK : SP_NOT_CONVERGED;
        }
        at = next;
    }
    return SP_NOT_CONVERGED;
}

void sp_gates_backward(sp_family family, int n, const double *gate, const sp_cost *cost, double temperature,
                       const double *u, double *dscore)
{
    double width[SP_MAX_LAYERS + 1], price[SP_MAX_LAYERS + 1] = {0}, fall = 0;
    const bool products = has_pairs(cost);
    if (!cost) {
        sp_kernels_in_use()->score_gradient(family, n, gate, temperature, u, dscore);
        return;
    }
    if (products) {
        fixed_widths(cost, width);
        for (int i = 0; i < n; i++)
            width[cost->layer[i]] += gate[i];
        for (int l = 0; l < cost->n_layers; l++)
            price[l] = node_price(cost, width, l);
    }
    for (int i = 0; i < n; i++)
        dscore[i] = slope_at(family, gate[i]);
    for (int i = 0; i < n; i++)
        fall += dscore[i] * slope_of_cost(cost, price, i);
    const double up = dot(n, dscore, u);
    const double mu = fall > 0 ? up / fall : 0, inverse = 1 / temperature;
    for (int i = 0; i < n; i++)
        dscore[i] *= (u[i] - slope_of_cost(cost, price, i) * mu) * inverse;
}

double sp_scores_step(int n, int n_all, double *score, const double *grad, double *velocity, double square,
                      int64_t step, double rate)
{
    const double momentum = 0.9, memory = 0.99;
    square = memory * square + (1 - memory) * dot(n, grad, grad) / n_all;
    const double scale =
        rate / (1 - pow(momentum, (double)step)) / (sqrt(square / (1 - pow(memory, (double)step))) + 1e-12);
    for (int i = 0; i < n; i++) {
        velocity[i] = momentum * velocity[i] + (1 - momentum) * grad[i];
        score[i] -= scale * velocity[i];
    }
    return square;
}

typedef struct {
    double score;
    int32_t index, layer;
} candidate;

static int by_score(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return x->index < y->index ? -1 : 1;
}

/* Nodes per layer, at index l of each. */
typedef struct {
    int32_t low, high, kept, seen;
    candidate block; /* the one being filled, its score the sum */
} layer_count;

/* Limits as multiples that the layer has; what is missing in all to reach n_nodes, or -1 if they cannot be met. */
static int set_limits(const sp_limits *limits, int n_layers, layer_count *at, int n_nodes)
{
    const int m = limits->multiple;
    int64_t most = 0, missing = n_nodes;
    for (int l = 0; l < n_layers; l++) {
        const int32_t have = at[l].high, low = limits->low[l] < have ? limits->low[l] : have;
        at[l].high = (limits->high[l] < have ? limits->high[l] : have) / m * m;
        at[l].kept = at[l].low = (low + m - 1) / m * m;
        if (at[l].low > at[l].high)
            return -1;
        most += at[l].high;
        missing -= at[l].low;
    }
    return n_nodes % m == 0 && missing >= 0 && n_nodes <= most ? (int)missing : -1;
}

sp_status sp_select(int n, const double *score, const int32_t *layer, int n_nodes, const sp_limits *limits, bool *keep)
{
    const int m = limits->multiple;
    int32_t n_layers = 0;
    for (int i = 0; i < n; i++)
        n_layers = layer[i] >= n_layers ? layer[i] + 1 : n_layers;
    candidate *best = malloc(2 * (size_t)n * sizeof *best), *block = best + n;
    layer_count *at = calloc((size_t)n_layers, sizeof *at);
    sp_status status = best && at ? SP_OK : SP_NO_MEMORY;
    if (!status) {
        for (int i = 0; i < n; i++)
            at[layer[i]].high++;
        int missing = set_limits(limits, n_layers, at, n_nodes), n_blocks = 0;
        if (missing < 0)
            status = SP_BAD_BUDGET;
        for (int i = 0; !status && i < n; i++)
            best[i] = (candidate){score[i], i, layer[i]};
        if (!status)
            qsort(best, (size_t)n, sizeof *best, by_score);
        for (int i = 0; !status && i < n; i++) { /* each layer's nodes, best first, in blocks of m */
            layer_count *to = at + best[i].layer;
            if (to->seen++ % m == 0)
                to->block = best[i];
            else
                to->block.score += best[i].score;
            if (to->seen % m == 0 && to->seen > to->low && to->seen <= to->high)
                block[n_blocks++] = to->block;
        }
        if (!status)
            qsort(block, (size_t)n_blocks, sizeof *block, by_score);
        for (int i = 0; i < n_blocks && missing > 0; i++, missing -= m)
            at[block[i].layer].kept += m; /* a layer's blocks come in their order: later ones add up to no more */
        for (int i = 0; !status && i < n; i++)
            keep[best[i].index] = at[best[i].layer].kept-- > 0;
    }
    free(best);
    free(at);
    return status;
}
