/* The shadow network: scores -> gates under an exact budget.
 *
 *     g_i = F((s_i - theta)/T),   theta solves  sum_i c_i g_i = B
 *
 * F is the logistic or the Laplace distribution function. The left side falls with theta from sum c to 0, so there is
 * one solution; Newton's step is taken where it stays inside the bracket known so far, a bisection elsewhere. A last
 * step below SMALL temperatures needs no new exponentials: g moves along its slope, which is right to SMALL^2.
 *
 * Gradient, with u_i = dL/dg_i and d_i = F'((s_i - theta)/T). Differentiating the constraint gives
 * dtheta/ds_j = c_j d_j / sum_i c_i d_i, hence
 *
 *     dL/ds_j = (d_j/T) (u_j - c_j mu),   mu = sum_i u_i d_i / sum_i c_i d_i
 *
 * No penalty, no multiplier to tune. For c = 1 the gradients add up to zero.
 */
#include "kernels.h"

#include <math.h>
#include <stdlib.h>

enum { MAX_ITERATIONS = 400 };
#define SMALL 1e-7

/* F' where F = g: the slope of both families follows from the gate, without another exponential. */
static double slope_at(sp_family family, double g) { return family == SP_LOGISTIC ? g * (1 - g) : fmin(g, 1 - g); }

sp_status sp_gates(sp_family family, int n, const double *score, const double *cost, double budget, double temperature,
                   double *theta, double *gate)
{
    double total = 0, low = INFINITY, high = -INFINITY;
    for (int i = 0; i < n; i++) {
        total += cost ? cost[i] : 1;
        low = fmin(low, score[i]);
        high = fmax(high, score[i]);
    }
    if (!(budget > 0) || budget > total * (1 + 1e-12))
        return SP_BAD_BUDGET;
    if (budget >= total * (1 - 1e-12)) { /* every node open: no finite theta, and none needed */
        for (int i = 0; i < n; i++)
            gate[i] = 1;
        *theta = low - 800 * temperature;
        return SP_OK;
    }
    low -= 40 * temperature;   /* F = 1 to the last bit for all */
    high += 750 * temperature; /* F = 0 */
    const double tolerance = 1e-12 * total;
    double at = *theta > low && *theta < high ? *theta : 0.5 * (low + high), slope[64];
    for (int iteration = 0; iteration < MAX_ITERATIONS; iteration++) {
        double sum = 0, sum_slope = 0;
        for (int i = 0; i < n; i += 64) {
            double part;
            const int m = n - i < 64 ? n - i : 64;
            sum += sp_kernels_in_use()->gates(family, m, score + i, cost ? cost + i : NULL, at, temperature, gate + i,
                                              slope, &part);
            sum_slope += part;
        }
        const double excess = sum - budget;
        if (fabs(excess) <= tolerance) {
            *theta = at;
            return SP_OK;
        }
        const double newton = at + excess * temperature / sum_slope;
        if (fabs(newton - at) <= SMALL * temperature) {
            for (int i = 0; i < n; i++)
                gate[i] -= slope_at(family, gate[i]) * excess / sum_slope;
            *theta = newton;
            return SP_OK;
        }
        if (excess > 0)
            low = at;
        else
            high = at;
        const double next = newton > low && newton < high ? newton : 0.5 * (low + high);
        if (next == at) { /* low and high are neighbours: no double meets the budget better */
            *theta = at;
            return fabs(excess) <= 1e-6 * total ? SP_OK : SP_NOT_CONVERGED;
        }
        at = next;
    }
    return SP_NOT_CONVERGED;
}

void sp_gates_backward(sp_family family, int n, const double *gate, const double *cost, double temperature,
                       const double *u, double *dscore)
{
    double total = 0, up = 0;
    for (int i = 0; i < n; i++) {
        dscore[i] = slope_at(family, gate[i]);
        total += dscore[i] * (cost ? cost[i] : 1);
        up += dscore[i] * u[i];
    }
    const double mu = total > 0 ? up / total : 0;
    for (int i = 0; i < n; i++)
        dscore[i] *= (u[i] - (cost ? cost[i] : 1) * mu) / temperature;
}

double sp_scores_step(int n, double *score, const double *grad, double *velocity, double square, int64_t step,
                      double rate)
{
    const double momentum = 0.9, memory = 0.99;
    double now = 0;
    for (int i = 0; i < n; i++)
        now += grad[i] * grad[i];
    square = memory * square + (1 - memory) * now / n;
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

sp_status sp_select(int n, const double *score, const int32_t *layer, int n_nodes, int min_nodes, bool *keep)
{
    int32_t n_layers = 0;
    for (int i = 0; i < n; i++)
        n_layers = layer[i] >= n_layers ? layer[i] + 1 : n_layers;
    candidate *best = malloc((size_t)n * sizeof *best);
    int *missing = calloc((size_t)n_layers, sizeof *missing);
    sp_status status = best && missing ? SP_OK : SP_NO_MEMORY;
    if (!status) {
        int must = 0;
        for (int i = 0; i < n; i++) {
            best[i] = (candidate){score[i], i, layer[i]};
            keep[i] = false;
            if (missing[layer[i]] < min_nodes) { /* a layer narrower than min_nodes keeps all it has */
                missing[layer[i]]++;
                must++;
            }
        }
        if (n_nodes < must || n_nodes > n)
            status = SP_BAD_BUDGET;
    }
    if (!status) {
        qsort(best, (size_t)n, sizeof *best, by_score);
        for (int i = 0; i < n; i++)
            if (missing[best[i].layer] > 0) {
                missing[best[i].layer]--;
                keep[best[i].index] = true;
                n_nodes--;
            }
        for (int i = 0; i < n && n_nodes > 0; i++)
            if (!keep[best[i].index]) {
                keep[best[i].index] = true;
                n_nodes--;
            }
    }
    free(best);
    free(missing);
    return status;
}
