/* Two other ways to choose nodes under the same budgets, to compare the soft gates with.
 *
 * Both use hard gates: of the nodes with the highest scores as many are open as the soft gates add up to.
 *
 *     straight-through   the scores move along the gradient of the soft gates, taken at the hard ones
 *                        (Bengio, Leonard and Courville, arXiv:1308.3432)
 *     taylor             s_i = running mean of (g_i u_i)^2, u = dL/dg: the square of what the loss would change, to
 *                        first order, without node i (Molchanov et al., CVPR 2019)
 */
#include "shadowprune.h"

#include <math.h>

/* a before b: higher score, ties to the lower index */
static bool before(const double *score, int32_t a, int32_t b)
{
    return score[a] > score[b] || (score[a] == score[b] && a < b);
}

void sp_gates_harden(int n, const double *score, const double *soft, const int32_t *layer, int32_t *order, double *hard)
{
    double sum = 0;
    bool alive[SP_MAX_LAYERS + 1] = {false};
    for (int i = 0; i < n; i++)
        sum += soft[i];
    for (int i = 1; i < n; i++) { /* by insertion: from one step to the next the order hardly changes */
        const int32_t at = order[i];
        int k = i;
        for (; k > 0 && before(score, at, order[k - 1]); k--)
            order[k] = order[k - 1];
        order[k] = at;
    }
    int64_t left = llround(sum);
    for (int k = 0; k < n; k++) { /* every layer's best stays open, or nothing would pass */
        const int32_t i = order[k];
        hard[i] = !alive[layer[i]];
        alive[layer[i]] = true;
        left -= hard[i] > 0;
    }
    for (int k = 0; k < n && left > 0; k++)
        if (hard[order[k]] == 0) {
            hard[order[k]] = 1;
            left--;
        }
}

void sp_taylor_step(int n, double *score, const double *gate, const double *u, int64_t step)
{
    const double share = fmax(1.0 / (double)step, SP_TAYLOR_SHARE);
    for (int i = 0; i < n; i++) {
        const double change = gate[i] * u[i];
        score[i] += share * (change * change - score[i]);
    }
}
