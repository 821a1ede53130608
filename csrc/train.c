/* Training: network and shadow together, one step after the other.
 *
 *     gates at this step's budget and temperature -> fold into the weights -> forward, loss, backward over blocks of
 *     rows -> gradients of gates, optimiser -> scores
 *
 * A batch is cut into slices of whole blocks, each with a gradient of its own; they are added up in order. How many
 * depends on batch and network alone, so that the threads that share them out change no bit.
 */
#include "train.h"

#include <stdlib.h>
#include <string.h>

enum { SLICE_FLOATS = 1 << 18 }; /* the gradients of all slices stay in the cache */

void sp_trainer_free(sp_trainer *trainer)
{
    if (!trainer)
        return;
    sp_groups_free(&trainer->shadow);
    sp_path_free(trainer->path);
    sp_team_free(trainer->team);
    sp_net_free(&trainer->net);
    free(trainer->net.quantised);
    free(trainer->m);
    free(trainer->v);
    free(trainer->grads);
    for (int i = 0; trainer->scratch && i < trainer->n_threads; i++)
        free(trainer->scratch[i].block);
    free(trainer->scratch);
    free(trainer->gates);
    free(trainer->u);
    free(trainer);
}

static int64_t blocks(int64_t rows) { return rows / SP_BLOCK_ROWS + (rows % SP_BLOCK_ROWS > 0); }

static int slices(const sp_net *net, int64_t rows)
{
    const int64_t n_blocks = blocks(rows), fit = SLICE_FLOATS / net->n_packed;
    const int64_t most = fit < 2 ? 2 : fit < SP_MAX_SLICES ? fit : SP_MAX_SLICES;
    return (int)(n_blocks < most ? n_blocks : most);
}

sp_status sp_trainer_new(const sp_layout *layout, sp_loss loss, const sp_optimizer *optimizer, int64_t batch_size,
                         int n_threads, sp_trainer **out)
{
    sp_trainer *trainer = calloc(1, sizeof *trainer);
    if (!trainer || sp_net_init(&trainer->net, layout, true)) {
        free(trainer);
        return SP_NO_MEMORY;
    }
    sp_net *net = &trainer->net;
    trainer->loss = loss;
    trainer->optimizer = *optimizer;
    trainer->batch_size = batch_size;
    trainer->n_slices = slices(net, batch_size);
    trainer->threads_asked = n_threads;
    trainer->n_threads = n_threads < trainer->n_slices ? n_threads : trainer->n_slices; /* more have nothing to do */
    trainer->m = sp_floats(net->n_packed);
    trainer->v = sp_floats(net->n_packed);
    trainer->grads = sp_floats(trainer->n_slices * net->n_packed);
    trainer->gates = sp_floats(layout->n_gates);
    trainer->u = calloc((size_t)layout->n_gates, sizeof *trainer->u);
    trainer->scratch = calloc((size_t)trainer->n_threads, sizeof *trainer->scratch);
    bool ok = trainer->m && trainer->v && trainer->grads && trainer->gates && trainer->u && trainer->scratch;
    const int64_t n_target = (int64_t)SP_BLOCK_ROWS * layout->width[layout->n_layers];
    for (int i = 0; ok && i < trainer->n_threads; i++) {
        sp_scratch *own = &trainer->scratch[i];
        own->block = sp_floats(net->n_block + n_target + SP_BLOCK_ROWS);
        own->target = own->block + net->n_block;
        own->weight = own->target + n_target;
        ok = own->block != NULL;
    }
    if (!ok) {
        sp_trainer_free(trainer);
        return SP_NO_MEMORY;
    }
    if (trainer->n_threads > 1 && !(trainer->team = sp_team_new(trainer->n_threads))) {
        sp_trainer_free(trainer);
        return SP_NO_THREADS;
    }
    for (int i = 0; i < layout->n_gates; i++)
        trainer->gates[i] = 1;
    *out = trainer;
    return SP_OK;
}

const sp_layout *sp_trainer_layout(const sp_trainer *trainer) { return &trainer->net.layout; }
int64_t sp_trainer_batch_size(const sp_trainer *trainer) { return trainer->batch_size; }
int sp_trainer_n_groups(const sp_trainer *trainer) { return trainer->shadow.n; }
int sp_trainer_group_size(const sp_trainer *trainer, int i) { return trainer->shadow.group[i].n; }
const double *sp_trainer_scores(const sp_trainer *trainer, int i) { return trainer->shadow.group[i].score; }
const float *sp_trainer_gates(const sp_trainer *trainer) { return trainer->gates; }

void sp_trainer_set(sp_trainer *trainer, const float *params, const float *m, const float *v, int64_t step)
{
    const float *flat[] = {params, m, v};
    float *packed[] = {trainer->net.w, trainer->m, trainer->v};
    for (int i = 0; i < 3; i++) { /* padding too: a run that diverged leaves NaN there */
        memset(packed[i], 0, 4 * (size_t)trainer->net.n_packed);
        sp_net_pack(&trainer->net, flat[i], packed[i]);
    }
    trainer->step = step;
}

int64_t sp_trainer_get(const sp_trainer *trainer, float *params, float *m, float *v)
{
    sp_net_unpack(&trainer->net, trainer->net.w, params);
    sp_net_unpack(&trainer->net, trainer->m, m);
    sp_net_unpack(&trainer->net, trainer->v, v);
    return trainer->step;
}

sp_status sp_trainer_set_quantiser(sp_trainer *trainer, const sp_fixed *weight, const sp_fixed *output,
                                   const int *bias_fraction)
{
    sp_net *net = &trainer->net;
    if (net->layout.activation != SP_RELU)
        return SP_NOT_RELU;
    if (!net->quantised && !(net->quantised = sp_floats(net->n_packed)))
        return SP_NO_MEMORY;
    const sp_status status =
        sp_quantiser_init(&trainer->quantiser, net->layout.n_layers, weight, output, bias_fraction);
    net->quantiser = status ? NULL : &trainer->quantiser;
    return status;
}

sp_status sp_trainer_set_shadow(sp_trainer *trainer, sp_method method, sp_family family, int n_groups,
                                const sp_group *groups)
{
    for (int i = 0; i < trainer->net.layout.n_gates; i++)
        trainer->gates[i] = 1;
    sp_path_free(trainer->path);
    trainer->path = NULL;
    return sp_groups_set(&trainer->shadow, &trainer->net.layout, method, family, n_groups, groups);
}

sp_status sp_trainer_reduced(const sp_trainer *trainer, const bool *keep, sp_trainer **reduced)
{
    const sp_layout *layout = &trainer->net.layout;
    sp_layout small;
    sp_trainer *to = NULL;
    sp_status status = sp_reduce_layout(layout, keep, &small);
    if (!status)
        status = sp_trainer_new(&small, trainer->loss, &trainer->optimizer, trainer->batch_size, trainer->threads_asked,
                                &to);
    if (status)
        return status;
    float *flat = sp_floats(layout->n_params + small.n_params);
    status = flat ? sp_groups_reduced(&trainer->shadow, layout, keep, &small, &to->shadow) : SP_NO_MEMORY;
    if (!status) {
        const float *from[] = {trainer->net.w, trainer->m, trainer->v};
        float *kept[] = {to->net.w, to->m, to->v}, *gate = to->gates;
        for (int i = 0; i < 3; i++) {
            sp_net_unpack(&trainer->net, from[i], flat);
            sp_reduce(layout, keep, flat, flat + layout->n_params);
            sp_net_pack(&to->net, flat + layout->n_params, kept[i]);
        }
        for (int k = 0; k < layout->n_gates; k++)
            if (keep[k])
                *gate++ = trainer->gates[k];
        to->step = trainer->step;
    }
    free(flat);
    if (status)
        sp_trainer_free(to);
    else
        *reduced = to;
    return status;
}

/* --- One step, in jobs for the team ------------------------------------------------------------------------------ */

static void fold(void *context, int piece, int worker)
{
    (void)worker;
    const sp_batch *b = context;
    sp_net_fold_piece(&b->trainer->net, b->gates, true, piece);
}

/* Targets for the passes after this one: halfway between the labels and what the network says itself. */
static void soften(const sp_trainer *trainer, int rows, const float *z, const float *target, float *soft)
{
    const int last = trainer->net.layout.n_layers, n_out = trainer->net.layout.width[last];
    /* of every loss, unweighted, dL/dz is the prediction less the target */
    sp_loss_rows(trainer->loss, rows, n_out, z, trainer->net.stride[last], target, n_out, NULL, 1, soft, n_out);
    for (int i = 0; i < rows * n_out; i++)
        soft[i] = target[i] + 0.5f * soft[i];
}

/* Rows of what a run trains on, from the given one on: where they lie if it takes them in turn, or gathered. */
static const float *fetch(const sp_batch *b, const float *from, int width, int64_t first, int n, float *to,
                          int64_t stride)
{
    const int32_t *order = b->run->order;
    const int64_t at = b->run->first + b->first + first;
    if (!order)
        return from + at * width;
    b->trainer->net.kernels->gather(n, width, from, order + at, to, stride);
    return to;
}

/* The gradient of one slice: dL/dv, and its part of the mean loss. */
static void gradient(void *context, int slice, int worker)
{
    sp_batch *b = context;
    sp_trainer *trainer = b->trainer;
    const sp_net *net = &trainer->net;
    const sp_run *run = b->run;
    const sp_scratch *own = &trainer->scratch[worker];
    const int n_layers = net->layout.n_layers, n_in = net->layout.width[0], n_out = net->layout.width[n_layers];
    const int64_t x_stride = run->order ? net->stride[0] : n_in;
    float *block = own->block, *z = block + net->output[n_layers];
    float *grad = trainer->grads + slice * net->n_packed;
    const int64_t n_blocks = blocks(b->rows);
    const int64_t begin = slice * n_blocks / b->n_slices * SP_BLOCK_ROWS;
    const int64_t end = (slice + 1) * n_blocks / b->n_slices * SP_BLOCK_ROWS;
    double loss = 0;
    for (int64_t first = begin; first < end && first < b->rows; first += SP_BLOCK_ROWS) {
        const int n = (int)(b->rows - first < SP_BLOCK_ROWS ? b->rows - first : SP_BLOCK_ROWS);
        float *gathered = b->gathered ? b->gathered + first * net->stride[0] : block;
        const bool again = b->add && run->order; /* an earlier pass has gathered them */
        const float *x = again ? gathered : fetch(b, run->x, n_in, first, n, gathered, x_stride);
        const float *target =
            b->soft && b->add ? b->soft + first * n_out : fetch(b, run->target, n_out, first, n, own->target, n_out);
        const float *weight = run->weight ? fetch(b, run->weight, 1, first, n, own->weight, 1) : NULL;
        sp_net_forward(net, x, x_stride, n, block);
        if (b->soft && !b->add)
            soften(trainer, n, z, target, b->soft + first * n_out);
        loss += sp_loss_rows(trainer->loss, n, n_out, z, net->stride[n_layers], target, n_out, weight,
                             1.0f / (float)b->rows, z, net->stride[n_layers]);
        sp_net_backward(net, x, x_stride, n, block, grad, first > begin);
    }
    b->loss[slice] = loss;
}

static void update(void *context, int piece, int worker)
{
    (void)worker;
    const sp_batch *b = context;
    sp_trainer *trainer = b->trainer;
    sp_net_update_piece(&trainer->net, &b->rule, b->keep, b->gates, trainer->grads, b->n_slices, trainer->m, trainer->v,
                        b->gates ? trainer->u : NULL, piece);
}

void sp_batch_fold(sp_batch *b)
{
    sp_net_fold_begin(&b->trainer->net, b->gates);
    sp_team_run(b->trainer->team, fold, b, b->trainer->net.n_pieces);
}

double sp_batch_gradient(sp_batch *b)
{
    double loss = 0;
    sp_team_run(b->trainer->team, gradient, b, b->n_slices);
    for (int i = 0; i < b->n_slices; i++)
        loss += b->loss[i];
    return loss;
}

void sp_batch_update(sp_batch *b) { sp_team_run(b->trainer->team, update, b, b->trainer->net.n_pieces); }

static sp_status one_step(sp_trainer *trainer, const sp_run *run, int64_t step, int64_t first, int64_t rows)
{
    sp_batch b = {
        .trainer = trainer,
        .run = run,
        .first = first,
        .rows = rows,
        .n_slices = slices(&trainer->net, rows),
        .rule = sp_rule_of(&trainer->optimizer, trainer->step + 1, run->rate[step]),
        .keep = (float)(1 - (double)run->rate[step] * run->decay[step]),
    };
    if (trainer->path)
        return sp_path_step(&b, run->budget + step * sp_trainer_n_budgets(trainer), run->temperature[step],
                            run->rate[step], &run->loss[step]);
    const bool shadow = trainer->shadow.n > 0;
    const double *temperature = shadow ? run->temperature + step * trainer->shadow.n : NULL;
    if (shadow) {
        const sp_status status =
            sp_groups_gates(&trainer->shadow, run->budget + step * trainer->shadow.n, temperature, trainer->gates);
        if (status)
            return status;
        b.gates = trainer->gates;
    }
    sp_batch_fold(&b);
    run->loss[step] = sp_batch_gradient(&b);
    sp_batch_update(&b);
    if (shadow)
        sp_groups_step(&trainer->shadow, temperature, trainer->u);
    trainer->step++;
    return SP_OK;
}

sp_status sp_trainer_run(sp_trainer *trainer, const sp_run *run, int64_t *done)
{
    const uint64_t state = sp_flush_subnormals();
    sp_status status = SP_OK;
    *done = 0;
    sp_team_begin(trainer->team);
    for (int64_t first = 0; first < run->n && !status; first += trainer->batch_size) {
        const int64_t left = run->n - first;
        sp_team_step(trainer->team);
        status = one_step(trainer, run, *done, first, left < trainer->batch_size ? left : trainer->batch_size);
        *done += !status;
    }
    sp_restore_subnormals(state);
    return status;
}
