/* Inference: nothing but the products.
 *
 * Whole panels of rows go through the layers with rows as lanes, so that a narrow layer leaves none idle: the rows are
 * turned into columns once, h_l^T = V_l^T h_(l-1)^T, and what comes out is turned back. Few rows have the nodes as
 * lanes, as in a training. Sums run over k in the same order: the same bits.
 *
 * A predictor's block lives in a spare buffer. A thread that finds it taken makes one of its own, so
 * that one predictor serves any number of threads and a single thread allocates nothing.
 */
#include "packed.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

void sp_net_layer_columns(const sp_net *net, int l, const float *in, int rows, int lanes, float *out, sp_finish finish)
{
    const int vector = net->kernels->vector, panel = net->panel[l];
    for (int j = 0; j < net->live[l]; j += panel)
        net->kernels->product(&(sp_product){
            .m = net->live[l] - j < panel ? net->live[l] - j : panel,
            .n = (rows + vector - 1) / vector * vector,
            .k = net->live[l - 1],
            .a = net->v + net->weight[l] + (int64_t)j * net->layout.width[l - 1],
            .ai = 1,
            .ap = panel,
            .b = in,
            .b_row = lanes,
            .b_panel = 0,
            .start = net->v + net->bias[l] + j,
            .start_row = 1,
            .start_panel = 0,
            .start_spread = true,
            .c = out + j * lanes,
            .c_row = lanes,
            .c_panel = 0,
            .finish = finish,
        });
}

static void forward_columns(const sp_net *net, const float *x, int rows, float *block, float *z)
{
    const sp_layout *layout = &net->layout;
    const int n_out = layout->width[layout->n_layers], lanes = (rows + SP_PAD - 1) / SP_PAD * SP_PAD;
    float *in = block, *out = block + net->n_block / 2 / SP_PAD * SP_PAD;
    net->kernels->columns(rows, layout->width[0], x, layout->width[0], in, lanes);
    for (int l = 1; l <= layout->n_layers; l++) {
        const bool hidden = l < layout->n_layers, relu = hidden && layout->activation == SP_RELU;
        sp_net_layer_columns(net, l, in, rows, lanes, out, relu ? SP_KEEP_POSITIVE : SP_KEEP_SUM);
        if (hidden && !relu)
            net->kernels->activate(layout->activation, (int64_t)layout->width[l] * lanes, out);
        float *swap = in;
        in = out;
        out = swap;
    }
    if (n_out == 1)
        memcpy(z, in, 4 * (size_t)rows);
    else
        for (int r = 0; r < rows; r++)
            for (int j = 0; j < n_out; j++)
                z[r * n_out + j] = in[j * lanes + r];
}

/* Logits of the first rows; of how many. */
static int some_rows(const sp_net *net, const float *x, int64_t left, float *block, float *z)
{
    const int vector = net->kernels->vector;
    const int rows = left < SP_PANEL ? (int)left : SP_PANEL;
    const double by_columns = (rows < SP_PANEL ? 1.15 : 1) * ((rows + vector - 1) / vector) * net->by_columns;
    if (by_columns < rows * net->by_rows)
        forward_columns(net, x, rows, block, z);
    else {
        sp_net_forward(net, x, net->layout.width[0], rows, block);
        sp_net_outputs(net, block, rows, z);
    }
    return rows;
}

void sp_net_infer(const sp_net *net, const float *x, int64_t rows, float *block, float *z)
{
    const int n_in = net->layout.width[0], n_out = net->layout.width[net->layout.n_layers];
    for (int64_t at = 0, done; at < rows; at += done)
        done = some_rows(net, x + at * n_in, rows - at, block, z + at * n_out);
}

/* --- A network frozen ------------------------------------------------------------------------------------------- */

struct sp_predictor {
    sp_net net;
    _Atomic(float *) spare;
};

sp_predictor *sp_predictor_new(const sp_layout *layout, const float *params)
{
    sp_predictor *predictor = calloc(1, sizeof *predictor);
    if (!predictor || sp_net_init(&predictor->net, layout, false)) {
        free(predictor);
        return NULL;
    }
    sp_net_pack(&predictor->net, params, predictor->net.w);
    float *block = sp_floats(predictor->net.n_block);
    atomic_init(&predictor->spare, block);
    if (block)
        return predictor;
    sp_predictor_free(predictor);
    return NULL;
}

void sp_predictor_free(sp_predictor *predictor)
{
    if (!predictor)
        return;
    free(atomic_load(&predictor->spare));
    sp_net_free(&predictor->net);
    free(predictor);
}

const sp_layout *sp_predictor_layout(const sp_predictor *predictor) { return &predictor->net.layout; }

sp_status sp_predict(sp_predictor *predictor, const float *x, int64_t rows, float *z)
{
    const sp_net *net = &predictor->net;
    float *block = atomic_exchange(&predictor->spare, NULL);
    if (!block && !(block = sp_floats(net->n_block)))
        return SP_NO_MEMORY;
    const uint64_t state = sp_flush_subnormals();
    sp_net_infer(net, x, rows, block, z);
    sp_restore_subnormals(state);
    free(atomic_exchange(&predictor->spare, block));
    return SP_OK;
}
