/* Groups of nodes under budgets. See groups.h; the mathematics is in shadow.c and variants.c. */
#include "groups.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef sp_group_state group;

void sp_groups_free(sp_groups *groups)
{
    for (int i = 0; i < groups->n; i++) {
        free(groups->group[i].index);
        free(groups->group[i].score);
        free(groups->group[i].cost_block);
        free(groups->group[i].cost_layer);
    }
    free(groups->group);
    groups->group = NULL;
    groups->n = 0;
}

static bool copy_cost(group *to, const sp_cost *from)
{
    const size_t n = (size_t)to->n, n_layers = (size_t)from->n_layers;
    double *block = to->cost_block = malloc((n + 2 * n_layers) * sizeof *block);
    to->cost_layer = malloc(n * sizeof *to->cost_layer);
    if (!block || !to->cost_layer)
        return false;
    to->cost = (sp_cost){.n_layers = from->n_layers, .layer = to->cost_layer, .fixed = block + n};
    if (from->linear)
        to->cost.linear = memcpy(block, from->linear, n * sizeof *block);
    if (n_layers) {
        memcpy(to->cost_layer, from->layer, n * sizeof *to->cost_layer);
        memcpy(block + n, from->fixed, n_layers * sizeof *block);
        to->cost.pair = memcpy(block + n + n_layers, from->pair, (n_layers - 1) * sizeof *block);
    }
    return true;
}

static int layer_of(const sp_layout *layout, int32_t gate)
{
    int l = 0;
    while (gate >= layout->gate[l] + layout->width[l])
        l++;
    return l;
}

sp_status sp_groups_set(sp_groups *groups, const sp_layout *layout, sp_method method, sp_family family, int n_groups,
                        const sp_group *given)
{
    sp_groups_free(groups);
    groups->method = method;
    groups->family = family;
    if (n_groups == 0)
        return SP_OK;
    groups->group = calloc((size_t)n_groups, sizeof *groups->group);
    if (!groups->group)
        return SP_NO_MEMORY;
    for (int i = 0; i < n_groups; i++) {
        group *to = &groups->group[i];
        const size_t n = (size_t)given[i].n;
        groups->n = i + 1;
        to->n = to->n_all = given[i].n;
        to->rate = given[i].rate;
        to->index = malloc(3 * n * sizeof *to->index);
        to->score = calloc(7 * n, sizeof *to->score); /* one piece for all */
        if (!to->index || !to->score || (given[i].cost && !copy_cost(to, given[i].cost))) {
            sp_groups_free(groups);
            return SP_NO_MEMORY;
        }
        to->layer = to->index + n;
        to->order = to->index + 2 * n;
        to->gate = to->score + n;
        to->velocity = to->score + 2 * n;
        to->u = to->score + 3 * n;
        to->grad = to->score + 4 * n;
        to->hard = to->score + 5 * n;
        to->solved = to->score + 6 * n;
        memcpy(to->index, given[i].index, n * sizeof *to->index);
        for (int k = 0; k < to->n; k++) {
            to->layer[k] = layer_of(layout, to->index[k]);
            to->order[k] = k;
        }
        memcpy(to->score, given[i].score, n * sizeof *to->score);
    }
    return SP_OK;
}

/* The kept part of values (n) that belong to the gates of a group. */
static void compress(const group *from, const bool *keep, const double *values, double *kept)
{
    for (int k = 0; k < from->n; k++)
        if (keep[from->index[k]])
            *kept++ = values[k];
}

sp_status sp_groups_reduced(const sp_groups *from_groups, const sp_layout *layout, const bool *keep,
                            const sp_layout *reduced_layout, sp_groups *reduced)
{
    const int n_gates = layout->n_gates;
    sp_group *groups = calloc((size_t)from_groups->n + 1, sizeof *groups);
    double *scores = malloc((size_t)n_gates * 2 * sizeof *scores), *costs;
    int32_t *indices = malloc((size_t)n_gates * 3 * sizeof *indices), *layers, *place;
    sp_cost *cost = calloc((size_t)from_groups->n + 1, sizeof *cost);
    sp_status status = groups && scores && indices && cost ? SP_OK : SP_NO_MEMORY;
    if (!status) {
        costs = scores + n_gates;
        layers = indices + n_gates;
        place = layers + n_gates;
        place[0] = 0;
        for (int k = 1; k < n_gates; k++)
            place[k] = place[k - 1] + keep[k - 1];
        for (int i = 0, first = 0; i < from_groups->n; first += groups[i++].n) {
            const group *from = &from_groups->group[i];
            sp_group *g = &groups[i];
            *g = (sp_group){.index = indices + first, .score = scores + first, .rate = from->rate};
            compress(from, keep, from->score, scores + first);
            if (from->cost_block) {
                cost[i] = from->cost;
                cost[i].layer = layers + first;
                if (from->cost.linear) {
                    compress(from, keep, from->cost.linear, costs + first);
                    cost[i].linear = costs + first;
                }
                g->cost = &cost[i];
            }
            for (int k = 0; k < from->n; k++)
                if (keep[from->index[k]]) {
                    indices[first + g->n] = place[from->index[k]];
                    if (from->cost.n_layers)
                        layers[first + g->n] = from->cost.layer[k];
                    g->n++;
                }
            if (g->n == 0)
                status = SP_EMPTY_GROUP;
        }
    }
    if (!status)
        status =
            sp_groups_set(reduced, reduced_layout, from_groups->method, from_groups->family, from_groups->n, groups);
    for (int i = 0; !status && i < from_groups->n; i++) {
        const group *from = &from_groups->group[i];
        group *g = &reduced->group[i];
        compress(from, keep, from->velocity, g->velocity);
        compress(from, keep, from->gate, g->gate);
        compress(from, keep, from->solved, g->solved);
        g->temperature = from->temperature;
        g->budget = from->budget;
        g->n_all = from->n_all;
        g->theta = from->theta;
        g->theta_before = from->theta_before;
        g->square = from->square;
        g->step = from->step;
    }
    free(groups);
    free(scores);
    free(indices);
    free(cost);
    return status;
}

/* Where to look for theta: scores and schedule say it better than its last step does. */
static double expected_theta(const group *at, sp_family family, double budget, double temperature)
{
    const double drift = at->theta + (at->theta - at->theta_before);
    if (at->temperature == 0 || at->cost.n_layers)
        return drift;
    const double ahead = sp_gates_ahead(family, at->n, at->gate, at->cost.linear, at->solved, at->score, at->theta,
                                        at->temperature, temperature, budget - at->budget);
    return fabs(ahead - at->theta) < temperature ? ahead : drift;
}

sp_status sp_groups_gates(sp_groups *groups, const double *budget, const double *temperature, float *gates)
{
    for (int i = 0; i < groups->n; i++) {
        group *at = &groups->group[i];
        const double before = at->theta;
        at->theta = expected_theta(at, groups->family, budget[i], temperature[i]);
        at->theta_before = before;
        const sp_status status = sp_gates(groups->family, at->n, at->score, at->cost_block ? &at->cost : NULL,
                                          budget[i], temperature[i], &at->theta, at->gate);
        if (status)
            return status;
        memcpy(at->solved, at->score, (size_t)at->n * sizeof *at->solved);
        at->temperature = temperature[i];
        at->budget = budget[i];
        const bool hard = groups->method != SP_SHADOW;
        if (hard)
            sp_gates_harden(at->n, at->score, at->gate, at->layer, at->order, at->hard);
        for (int k = 0; k < at->n; k++)
            gates[at->index[k]] = (float)(hard ? at->hard : at->gate)[k];
    }
    return SP_OK;
}

void sp_groups_step(sp_groups *groups, const double *temperature, const double *u)
{
    for (int i = 0; i < groups->n; i++) {
        group *at = &groups->group[i];
        for (int k = 0; k < at->n; k++)
            at->u[k] = u[at->index[k]];
        at->step++;
        if (groups->method == SP_TAYLOR) {
            sp_taylor_step(at->n, at->score, at->hard, at->u, at->step);
            continue;
        }
        /* Unit costs here, though theta keeps the true cost: projecting with the true cost selects worse. */
        sp_gates_backward(groups->family, at->n, at->gate, NULL, temperature[i], at->u, at->grad);
        at->square =
            sp_scores_step(at->n, at->n_all, at->score, at->grad, at->velocity, at->square, at->step, at->rate);
    }
}
