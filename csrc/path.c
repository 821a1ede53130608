/* One training, every budget: nested sub-networks that share their weights.
 *
 *     K_0, K_1, K_2 ...          budgets of the passes of one step, all over the same rows
 *     g^K                        gates of METHOD at K: soft, g_i = F((s_i - theta_K)/T), or the K first in a fixed order
 *     h_i = g_i^K (1 + gain_i(K)) phi(z_i + shift_i(K)),   gain, shift: piecewise linear in log K, zero at K = n
 *
 * Weights, corrections and scores move along the sum of the gradients of all passes. The first pass learns from the
 * targets and teaches the others, if there are any: half of their targets are its predictions. Corrections fold into
 * the weights and biases of each sub-network.
 *
 * A pass computes the nodes up to the last open one of each layer, and so is the cheaper the smaller its budget is, if
 * the caller keeps the best nodes in front (sp_trainer_permute). A gate below SHUT counts as closed.
 *
 * Sandwiches of widths and in-place distillation: Yu and Huang, arXiv:1903.05134; which nodes, and how many of each
 * layer, is left to the gates here.
 */
#include "train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SHUT 1e-4

struct sp_path {
    int n_passes, n_knots;       /* the last knot, all nodes, has no correction and is not counted */
    int n_gates, n_nodes;        /* corrections on a knot: gains of the gates, shifts of the nodes after the inputs */
    double *knot, *theta;        /* log K; of each pass, where its solver starts */
    double *dscore;              /* of one pass */
    float *value, *grad, *m, *v; /* corrections */
    float *now;                  /* those of one pass */
    float *total;                /* dL/dw of all passes, packed */
    float *soft, *x;             /* targets and inputs of a batch */
    int32_t *rank;               /* of the nodes of the group, once their order is fixed */
    bool frozen;
    /* of the pass under way */
    int at;
    float part[2];
};

void sp_path_free(sp_path *path)
{
    if (!path)
        return;
    free(path->knot);
    free(path->value);
    free(path->total);
    free(path->rank);
    free(path);
}

sp_status sp_trainer_set_path(sp_trainer *trainer, int n_passes, int n_knots, const double *knot)
{
    const sp_layout *layout = &trainer->net.layout;
    const int n = trainer->shadow.group[0].n, last = layout->n_layers;
    sp_path *path = calloc(1, sizeof *path);
    sp_path_free(trainer->path);
    trainer->path = NULL;
    if (!path)
        return SP_NO_MEMORY;
    path->n_passes = n_passes;
    path->n_knots = n_knots - 1;
    path->n_gates = layout->n_gates;
    path->n_nodes = layout->n_gates - layout->width[0] + layout->width[last];
    const int64_t n_corrections = (int64_t)path->n_knots * (path->n_gates + path->n_nodes);
    const int64_t per_row = layout->width[last] + trainer->net.stride[0];
    path->knot = malloc(((size_t)n_knots + (size_t)n_passes + (size_t)n) * sizeof *path->knot);
    path->value = sp_floats(4 * n_corrections + path->n_gates + path->n_nodes);
    if (trainer->batch_size < INT64_MAX / 16 / per_row) /* or no memory holds it */
        path->total = sp_floats(trainer->net.n_packed + trainer->batch_size * per_row);
    path->rank = calloc((size_t)n, sizeof *path->rank);
    if (!path->knot || !path->value || !path->total || !path->rank) {
        sp_path_free(path);
        return SP_NO_MEMORY;
    }
    path->theta = path->knot + n_knots;
    path->dscore = path->theta + n_passes;
    path->grad = path->value + n_corrections;
    path->m = path->grad + n_corrections;
    path->v = path->m + n_corrections;
    path->now = path->v + n_corrections;
    path->x = path->total + trainer->net.n_packed;
    path->soft = path->x + trainer->batch_size * trainer->net.stride[0];
    for (int k = 0; k < n_knots; k++)
        path->knot[k] = log(knot[k]);
    for (int p = 0; p < n_passes; p++)
        path->theta[p] = 0;
    trainer->path = path;
    return SP_OK;
}

int sp_trainer_n_knots(const sp_trainer *trainer) { return trainer->path ? trainer->path->n_knots + 1 : 0; }

int sp_trainer_n_budgets(const sp_trainer *trainer)
{
    return trainer->path ? trainer->path->n_passes : trainer->shadow.n;
}

void sp_trainer_freeze(sp_trainer *trainer, const int32_t *rank)
{
    memcpy(trainer->path->rank, rank, (size_t)trainer->shadow.group[0].n * sizeof *rank);
    trainer->path->frozen = true;
}

/* Corrections into the path or out of it, gains and shifts of a knot one after the other there. */
static void copy_corrections(const sp_path *path, float *gain, float *shift, bool in)
{
    float *inside = path->value;
    for (int k = 0; k < path->n_knots; k++)
        for (int side = 0; side < 2; side++) {
            const int n = side ? path->n_nodes : path->n_gates;
            float *outside = (side ? shift : gain) + (int64_t)k * n;
            memcpy(in ? inside : outside, in ? outside : inside, 4 * (size_t)n);
            inside += n;
        }
}

void sp_trainer_set_corrections(sp_trainer *trainer, const float *gain, const float *shift)
{
    copy_corrections(trainer->path, (float *)gain, (float *)shift, true);
}

void sp_trainer_get_corrections(const sp_trainer *trainer, float *gain, float *shift)
{
    copy_corrections(trainer->path, gain, shift, false);
}

/* --- One pass ---------------------------------------------------------------------------------------------------- */

/* Corrections at a budget: those of knots `at` and `at` + 1 in these parts. */
static void correct(sp_path *path, double budget)
{
    const double x = log(budget);
    const int n = path->n_gates + path->n_nodes, last = path->n_knots;
    int at = 0;
    while (at + 1 < last && x >= path->knot[at + 1])
        at++;
    double t = (x - path->knot[at]) / (path->knot[at + 1] - path->knot[at]);
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    path->at = at;
    path->part[0] = (float)(1 - t);
    path->part[1] = at + 1 < last ? (float)t : 0;
    const float *low = path->value + (int64_t)at * n, *high = path->part[1] > 0 ? low + n : low;
    for (int i = 0; i < n; i++)
        path->now[i] = path->part[0] * low[i] + path->part[1] * high[i];
}

/* Gates of the group at a budget, and those of the network as folded in: closed ones zero, with gains. */
static sp_status open_gates(sp_trainer *trainer, int pass, double budget, double temperature)
{
    sp_path *path = trainer->path;
    sp_group_state *group = &trainer->shadow.group[0];
    sp_net *net = &trainer->net;
    if (path->frozen)
        for (int k = 0; k < group->n; k++)
            group->gate[k] = path->rank[k] < budget;
    else {
        const sp_status status = sp_gates(trainer->shadow.family, group->n, group->score, NULL, budget, temperature,
                                          &path->theta[pass], group->gate);
        if (status)
            return status;
    }
    for (int i = 0; i < path->n_gates; i++)
        trainer->gates[i] = 1 + path->now[i];
    for (int k = 0; k < group->n; k++)
        trainer->gates[group->index[k]] *= group->gate[k] < SHUT ? 0 : (float)group->gate[k];
    for (int l = 1; l < net->layout.n_layers; l++) { /* one node at least stays, closed or not */
        const float *g = trainer->gates + net->layout.gate[l];
        int n = net->layout.width[l];
        while (n > 1 && g[n - 1] == 0)
            n--;
        net->live[l] = n;
    }
    return SP_OK;
}

/* The biases as this pass has them; folding copied them. */
static void shift_biases(const sp_trainer *trainer)
{
    const sp_net *net = &trainer->net;
    const float *shift = trainer->path->now + trainer->path->n_gates;
    for (int l = 1; l <= net->layout.n_layers; shift += net->layout.width[l++])
        for (int j = 0; j < net->live[l]; j++)
            net->v[net->bias[l] + j] += shift[j];
}

static void collect(void *context, int piece, int worker)
{
    (void)worker;
    const sp_batch *b = context;
    const sp_trainer *trainer = b->trainer;
    sp_net_collect_piece(&trainer->net, b->gates, trainer->grads, b->n_slices, b->add, trainer->path->total,
                         b->gates ? trainer->u : NULL, piece);
}

/* From u = dL/d(gate with its gain) and dL/dbias of this pass: its part in the gradients of corrections and scores. */
static void distribute(sp_trainer *trainer, const sp_batch *b, double temperature)
{
    sp_path *path = trainer->path;
    sp_group_state *group = &trainer->shadow.group[0];
    const sp_net *net = &trainer->net;
    const int n = path->n_gates + path->n_nodes;
    for (int k = 0; k < group->n; k++) /* what is closed learns nothing, computed or not */
        group->u[k] = group->gate[k] < SHUT ? 0 : trainer->u[group->index[k]];
    for (int side = 0; side < 2; side++) {
        const float part = path->part[side];
        if (part == 0)
            continue;
        float *gain = path->grad + (int64_t)(path->at + side) * n, *shift = gain + path->n_gates;
        for (int k = 0; k < group->n; k++)
            gain[group->index[k]] += part * (float)(group->gate[k] * group->u[k]);
        for (int l = 1; l <= net->layout.n_layers; shift += net->layout.width[l++])
            for (int j = 0; j < net->live[l]; j++)
                for (int s = 0; s < b->n_slices; s++)
                    shift[j] += part * trainer->grads[s * net->n_packed + net->bias[l] + j];
    }
    if (path->frozen)
        return;
    for (int k = 0; k < group->n; k++)
        group->u[k] *= 1 + path->now[group->index[k]];
    sp_gates_backward(trainer->shadow.family, group->n, group->gate, NULL, temperature, group->u, path->dscore);
    for (int k = 0; k < group->n; k++)
        group->grad[k] += path->dscore[k];
}

static void update(void *context, int piece, int worker)
{
    (void)worker;
    const sp_batch *b = context;
    sp_trainer *trainer = b->trainer;
    sp_net_update_piece(&trainer->net, &b->rule, b->keep, NULL, trainer->path->total, 1, trainer->m, trainer->v, NULL,
                        piece);
}

sp_status sp_path_step(sp_batch *b, const double *budget, double temperature, double rate, double *loss)
{
    sp_trainer *trainer = b->trainer;
    sp_path *path = trainer->path;
    sp_net *net = &trainer->net;
    sp_group_state *group = &trainer->shadow.group[0];
    const int64_t n_corrections = (int64_t)path->n_knots * (path->n_gates + path->n_nodes);
    sp_status status = SP_OK;
    memset(path->grad, 0, 4 * (size_t)n_corrections);
    memset(group->grad, 0, (size_t)group->n * sizeof *group->grad);
    bool single = true; /* one pass: nobody to teach or to gather for */
    for (int pass = 1; pass < path->n_passes; pass++)
        single = single && budget[pass] >= group->n;
    const bool plain = single && budget[0] >= group->n; /* as if there were no path */
    if (!single) {
        b->soft = path->soft;
        b->gathered = path->x;
    }
    for (int pass = 0; pass < path->n_passes && !status; pass++) {
        const bool whole = budget[pass] >= group->n;
        if (pass > 0 && whole)
            continue;
        b->add = pass > 0;
        if (!whole) {
            correct(path, budget[pass]);
            status = open_gates(trainer, pass, budget[pass], temperature);
            if (status)
                break;
            b->gates = trainer->gates;
            if (pass == 0) /* it leaves out what is closed */
                memset(path->total, 0, (size_t)net->n_packed * sizeof *path->total);
        }
        sp_batch_fold(b);
        if (!whole)
            shift_biases(trainer);
        const double mean = sp_batch_gradient(b);
        if (!plain)
            sp_team_run(trainer->team, collect, b, net->n_pieces);
        if (pass == 0)
            *loss = mean;
        if (!whole)
            distribute(trainer, b, temperature);
    }
    memcpy(net->live, net->layout.width, sizeof net->live);
    if (status)
        return status;
    if (plain)
        sp_batch_update(b);
    else
        sp_team_run(trainer->team, update, b, net->n_pieces);
    sp_optimizer_step(&trainer->optimizer, n_corrections, path->value, path->grad, path->m, path->v, ++trainer->step,
                      rate, 0);
    if (!path->frozen) {
        group->step++;
        group->square = sp_scores_step(group->n, group->n_all, group->score, group->grad, group->velocity,
                                       group->square, group->step, group->rate);
    }
    return SP_OK;
}

/* --- The order of the nodes -------------------------------------------------------------------------------------- */

static void permute_floats(int n, const int32_t *order, float *x, float *spare)
{
    memcpy(spare, x, 4 * (size_t)n);
    for (int i = 0; i < n; i++)
        x[i] = spare[order[i]];
}

sp_status sp_trainer_permute(sp_trainer *trainer, const int32_t *order)
{
    const sp_layout *layout = &trainer->net.layout;
    sp_path *path = trainer->path;
    sp_group_state *group = &trainer->shadow.group[0];
    const int n_in = layout->width[0], n_hidden = layout->n_gates - n_in;
    float *flat = sp_floats(2 * layout->n_params + layout->n_gates);
    double *scores = calloc(3 * (size_t)layout->n_gates, sizeof *scores);
    if (!flat || !scores) {
        free(flat);
        free(scores);
        return SP_NO_MEMORY;
    }
    float *packed[] = {trainer->net.w, trainer->m, trainer->v}, *spare = flat + 2 * layout->n_params;
    for (int i = 0; i < 3; i++) {
        sp_net_unpack(&trainer->net, packed[i], flat);
        sp_permute(layout, order, flat, flat + layout->n_params);
        sp_net_pack(&trainer->net, flat + layout->n_params, packed[i]);
    }
    permute_floats(layout->n_gates, order, trainer->gates, spare);
    float *corrections[] = {path->value, path->m, path->v};
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < path->n_knots; k++) {
            float *gain = corrections[i] + (int64_t)k * (path->n_gates + path->n_nodes);
            permute_floats(layout->n_gates, order, gain, spare);
            float *shift = gain + path->n_gates - n_in; /* indexed by gate: the outputs come after and stay */
            memcpy(spare, shift + n_in, 4 * (size_t)n_hidden);
            for (int g = n_in; g < layout->n_gates; g++)
                shift[g] = spare[order[g] - n_in];
        }
    double *by_gate[] = {scores, scores + layout->n_gates, scores + 2 * (size_t)layout->n_gates};
    for (int k = 0; k < group->n; k++) {
        by_gate[0][group->index[k]] = group->score[k];
        by_gate[1][group->index[k]] = group->velocity[k];
        by_gate[2][group->index[k]] = path->rank[k];
    }
    for (int k = 0; k < group->n; k++) {
        const int32_t from = order[group->index[k]];
        group->score[k] = by_gate[0][from];
        group->velocity[k] = by_gate[1][from];
        path->rank[k] = (int32_t)by_gate[2][from];
    }
    free(flat);
    free(scores);
    return SP_OK;
}
