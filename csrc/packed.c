/* Packing, unpacking and folding of weights. See packed.h for the layout. */
#include "packed.h"

#include <stdlib.h>
#include <string.h>

static int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

float *sp_floats(int64_t n)
{
    const size_t bytes = (size_t)round_up(4 * n + 64, 64);
    float *p = aligned_alloc(64, bytes);
    if (p)
        memset(p, 0, bytes);
    return p;
}

sp_status sp_net_init(sp_net *net, const sp_layout *layout, bool foldable)
{
    *net = (sp_net){.kernels = sp_kernels_in_use(), .layout = *layout};
    const int *width = layout->width;
    int64_t n_transposed = 0, widest = 0, n_rows = 0;
    const int vector = net->kernels->vector;
    for (int l = 0; l <= layout->n_layers; l++) {
        const int64_t padded = round_up(width[l], width[l] < SP_PANEL ? SP_PAD : SP_PANEL);
        net->panel[l] = padded < SP_PANEL ? (int)padded : SP_PANEL;
        net->stride[l] = (int)padded + (padded > SP_PANEL ? SP_PAD : 0);
        widest = net->stride[l] > widest ? net->stride[l] : widest;
        net->live[l] = width[l];
        net->output[l] = net->n_block;
        net->n_block += (int64_t)SP_BLOCK_ROWS * net->stride[l];
        if (l > 0) {
            net->weight[l] = net->n_packed;
            net->bias[l] = net->weight[l] + width[l - 1] * padded;
            net->n_packed = net->bias[l] + padded;
            n_rows += width[l - 1];
            net->by_rows += (double)width[l - 1] * (double)(round_up(width[l], vector) / vector);
            net->by_columns += (width[l - 1] > 4 * SP_PANEL ? 1.3 : 1) * width[l - 1] * width[l];
        }
        if (l > 1) {
            net->transposed[l] = n_transposed;
            n_transposed += (int64_t)width[l] * round_up(width[l - 1], net->panel[l - 1]);
        }
    }
    net->thin = net->n_block;
    net->n_block += SP_PANEL * (widest + SP_PAD);
    net->w = sp_floats(net->n_packed);
    net->folded = foldable ? sp_floats(net->n_packed) : NULL;
    net->vt = foldable ? sp_floats(n_transposed) : NULL;
    net->v = net->w;
    net->pieces = malloc((size_t)(n_rows / SP_PIECE_ROWS + layout->n_layers) * sizeof *net->pieces);
    if (!net->w || !net->pieces || (foldable && (!net->folded || !net->vt))) {
        sp_net_free(net);
        return SP_NO_MEMORY;
    }
    for (int l = 1; l <= layout->n_layers; l++)
        for (int first = 0; first < width[l - 1]; first += SP_PIECE_ROWS) {
            const int left = width[l - 1] - first;
            net->pieces[net->n_pieces++] = (sp_piece){l, first, left < SP_PIECE_ROWS ? left : SP_PIECE_ROWS};
        }
    return SP_OK;
}

void sp_net_free(sp_net *net)
{
    free(net->w);
    free(net->folded);
    free(net->vt);
    free(net->pieces);
    net->w = net->folded = net->vt = NULL;
    net->pieces = NULL;
}

/* Copies between the flat and the packed form of every layer, a run of panel columns at a time. */
static void copy(const sp_net *net, float *flat, float *packed, bool pack)
{
    for (int l = 1; l <= net->layout.n_layers; l++) {
        const int n_in = net->layout.width[l - 1], n_out = net->layout.width[l], panel = net->panel[l];
        for (int j = 0; j < n_out; j += panel) {
            const size_t bytes = 4 * (size_t)(n_out - j < panel ? n_out - j : panel);
            float *w = packed + net->weight[l] + (int64_t)j * n_in;
            for (int k = 0; k < n_in; k++) {
                float *f = flat + net->layout.weight[l] + (int64_t)k * n_out + j;
                memcpy(pack ? w + (int64_t)k * panel : f, pack ? f : w + (int64_t)k * panel, bytes);
            }
        }
        float *b = packed + net->bias[l], *f = flat + net->layout.bias[l];
        memcpy(pack ? b : f, pack ? f : b, 4 * (size_t)n_out);
    }
}

void sp_net_pack(const sp_net *net, const float *flat, float *packed) { copy(net, (float *)flat, packed, true); }

void sp_net_unpack(const sp_net *net, const float *packed, float *flat) { copy(net, flat, (float *)packed, false); }

static float *seen(const sp_net *net) { return net->quantiser ? net->quantised : net->w; }

void sp_net_fold_begin(sp_net *net, const float *gates)
{
    if (net->quantiser)
        sp_quantise_weights(net, net->quantiser, net->quantised);
    net->v = gates ? net->folded : seen(net);
}

static int live_rows(const sp_net *net, int piece)
{
    const sp_piece *at = &net->pieces[piece];
    const int left = net->live[at->layer - 1] - at->first;
    return left < 0 ? 0 : left < at->rows ? left : at->rows;
}

void sp_net_fold_piece(const sp_net *net, const float *gates, bool transpose, int piece)
{
    const int l = net->pieces[piece].layer, first = net->pieces[piece].first, rows = live_rows(net, piece);
    const int n_in = net->layout.width[l - 1], n_out = net->live[l], panel = net->panel[l];
    const float *g = gates ? gates + net->layout.gate[l - 1] + first : NULL;
    if (gates && first == 0)
        memcpy(net->v + net->bias[l], seen(net) + net->bias[l], 4 * (size_t)round_up(n_out, panel));
    transpose = transpose && l > 1;
    if (!gates && !transpose)
        return;
    const int in_panel = net->panel[l - 1], from = first / SP_PANEL * SP_PANEL;
    float *vt = net->vt + net->transposed[l] + (int64_t)from * net->layout.width[l] + (first - from);
    for (int j = 0; j < n_out; j += panel) {
        const int64_t at = net->weight[l] + (int64_t)j * n_in + (int64_t)first * panel;
        net->kernels->fold(rows, n_out - j < panel ? n_out - j : panel, panel, g, seen(net) + at, net->v + at,
                           transpose ? vt + (int64_t)j * in_panel : NULL, in_panel);
    }
}

void sp_net_fold(sp_net *net, const float *gates, bool transpose)
{
    sp_net_fold_begin(net, gates);
    for (int piece = 0; piece < net->n_pieces; piece++)
        sp_net_fold_piece(net, gates, transpose, piece);
}

void sp_net_gate_gradient(const sp_net *net, const float *gates, float *grad, double *u)
{
    const sp_layout *layout = &net->layout;
    for (int l = 1; l <= layout->n_layers; l++) {
        const int n_in = layout->width[l - 1], panel = net->panel[l], first = layout->gate[l - 1];
        for (int k = 0; k < n_in; k++) {
            double sum = 0;
            for (int j = 0; j < layout->width[l]; j += panel) {
                const int64_t at = net->weight[l] + (int64_t)j * n_in + (int64_t)k * panel;
                sum += net->kernels->gate_gradient(panel, net->w + at, grad + at, 1, 0, gates ? gates[first + k] : 1.0f,
                                                   false, grad + at);
            }
            u[first + k] = sum;
        }
    }
}

void sp_net_collect_piece(const sp_net *net, const float *gates, const float *grads, int n_grads, bool add,
                          float *total, double *u, int piece)
{
    const int l = net->pieces[piece].layer, first = net->pieces[piece].first, rows = live_rows(net, piece);
    const int n_in = net->layout.width[l - 1], n_out = net->live[l], panel = net->panel[l];
    const int gate = net->layout.gate[l - 1] + first;
    for (int k = 0; u && k < net->pieces[piece].rows; k++)
        u[gate + k] = 0;
    for (int j = 0; j < n_out; j += panel) {
        const int64_t n = round_up(n_out - j < panel ? n_out - j : panel, SP_PAD);
        for (int k = 0; k < rows; k++) {
            const int64_t at = net->weight[l] + (int64_t)j * n_in + (int64_t)(first + k) * panel;
            const double along = net->kernels->gate_gradient(n, net->w + at, grads + at, n_grads, net->n_packed,
                                                             gates ? gates[gate + k] : 1.0f, add, total + at);
            if (u)
                u[gate + k] += along;
        }
    }
    if (first == 0)
        net->kernels->gate_gradient(round_up(n_out, SP_PAD), net->w + net->bias[l], grads + net->bias[l], n_grads,
                                    net->n_packed, 1, add, total + net->bias[l]);
}

/* Points a job at the parameters from `at` on. */
static void place_job(sp_update_job *job, const sp_net *net, int64_t at, const float *grads, float *m, float *v)
{
    job->w = net->w + at;
    job->grad = grads + at;
    job->m = m + at;
    job->v = v + at;
}

void sp_net_update_piece(sp_net *net, const sp_rule *rule, float keep, const float *gates, const float *grads,
                         int n_grads, float *m, float *v, double *u, int piece)
{
    const int l = net->pieces[piece].layer, first = net->pieces[piece].first, rows = net->pieces[piece].rows;
    const int n_in = net->layout.width[l - 1], n_out = net->layout.width[l], panel = net->panel[l];
    const int gate = net->layout.gate[l - 1] + first;
    for (int k = 0; u && k < rows; k++)
        u[gate + k] = 0;
    sp_update_job job = {
        .rows = rows,
        .n = panel,
        .n_grads = n_grads,
        .grad_stride = net->n_packed,
        .keep = keep,
        .gate = gates ? gates + gate : NULL,
        .u = u ? u + gate : NULL,
    };
    for (int j = 0; j < n_out; j += panel) {
        place_job(&job, net, net->weight[l] + (int64_t)j * n_in + (int64_t)first * panel, grads, m, v);
        net->kernels->update(rule, &job);
    }
    if (first == 0) { /* the bias: one row, no gate, no decay */
        job = (sp_update_job){
            .rows = 1, .n = round_up(n_out, panel), .n_grads = n_grads, .grad_stride = net->n_packed, .keep = 1};
        place_job(&job, net, net->bias[l], grads, m, v);
        net->kernels->update(rule, &job);
    }
}
