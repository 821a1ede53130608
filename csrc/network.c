/* Dense networks.
 *
 *     h_0 = x,   z_l = h_{l-1} V_l + b_l,   h_l = phi(z_l),   z = z_L (logits),   V_l = diag(g_{l-1}) W_l
 *
 * Backward, with d_l = dL/dz_l:  dL/dV_l = h_{l-1}^T d_l,  dL/db_l = sum of rows of d_l,
 *     d_{l-1} = (d_l V_l^T) phi'(z_{l-1}),  phi' written in terms of h.
 */
#include "packed.h"

#include <stdlib.h>
#include <string.h>

sp_status sp_layout_init(sp_layout *layout, int n_layers, const int *width, sp_activation activation)
{
    if (n_layers < 1 || n_layers > SP_MAX_LAYERS)
        return SP_BAD_SHAPE;
    *layout = (sp_layout){.n_layers = n_layers, .activation = activation};
    for (int l = 0; l <= n_layers; l++) {
        if (width[l] < 1 || width[l] > SP_MAX_WIDTH)
            return SP_BAD_SHAPE;
        layout->width[l] = width[l];
        if (l < n_layers) {
            layout->gate[l] = layout->n_gates;
            layout->n_gates += width[l];
        }
        if (l > 0) {
            layout->weight[l] = layout->n_params;
            layout->bias[l] = layout->weight[l] + (int64_t)width[l - 1] * width[l];
            layout->n_params = layout->bias[l] + width[l];
        }
    }
    return SP_OK;
}

/* Floats computed of a row of layer l: whole vectors; of a layer computed in part, what goes over its gradients. */
static int columns(const sp_net *net, int l)
{
    const int n = net->live[l], vector = n < net->layout.width[l] ? SP_PAD : net->kernels->vector;
    return (n + vector - 1) / vector * vector;
}

static const float zeros[SP_PANEL] __attribute__((aligned(64)));

/* Few outputs leave most lanes idle, and a product per row waits for its loads: rows as lanes. */
static void few_outputs(const sp_net *net, const float *h, int64_t h_stride, int rows, float *block)
{
    const int l = net->layout.n_layers, stride = net->stride[l];
    float *out = block + net->thin, *in = out + SP_PAD * SP_PANEL, *z = block + net->output[l];
    for (int first = 0; first < rows; first += SP_PANEL) {
        const int n = rows - first < SP_PANEL ? rows - first : SP_PANEL;
        net->kernels->columns(n, net->live[l - 1], h + first * h_stride, h_stride, in, SP_PANEL);
        sp_net_layer_columns(net, l, in, n, SP_PANEL, out, SP_KEEP_SUM);
        for (int r = 0; r < n; r++)
            for (int j = 0; j < net->live[l]; j++)
                z[(first + r) * stride + j] = out[j * SP_PANEL + r];
    }
}

/* x (rows, width[0]) -> the outputs of every layer in block. */
void sp_net_forward(const sp_net *net, const float *x, int64_t x_stride, int rows, float *block)
{
    const sp_layout *layout = &net->layout;
    for (int l = 1; l <= layout->n_layers; l++) {
        const bool hidden = l < layout->n_layers, relu = hidden && layout->activation == SP_RELU;
        float *h = block + net->output[l];
        if (!hidden && 2 * layout->width[l] <= SP_PAD && 2 * rows >= SP_PANEL) {
            few_outputs(net, l > 1 ? block + net->output[l - 1] : x, l > 1 ? net->stride[l - 1] : x_stride, rows,
                        block);
            break;
        }
        net->kernels->product(&(sp_product){
            .m = rows,
            .n = columns(net, l),
            .k = net->live[l - 1],
            .a = l > 1 ? block + net->output[l - 1] : x,
            .ai = l > 1 ? net->stride[l - 1] : x_stride,
            .ap = 1,
            .b = net->v + net->weight[l],
            .b_row = net->panel[l],
            .b_panel = (int64_t)layout->width[l - 1] * SP_PANEL,
            .start = net->v + net->bias[l],
            .start_row = 0,
            .start_panel = SP_PANEL,
            .start_spread = false,
            .c = h,
            .c_row = net->stride[l],
            .c_panel = SP_PANEL,
            .finish = relu ? SP_KEEP_POSITIVE : SP_KEEP_SUM,
        });
        if (hidden && !relu)
            net->kernels->activate(layout->activation, (int64_t)rows * net->stride[l], h);
        if (hidden && net->quantiser)
            sp_quantise(&net->quantiser->output[l], (int64_t)rows * net->stride[l], h, h);
    }
}

void sp_net_outputs(const sp_net *net, const float *block, int rows, float *z)
{
    const int last = net->layout.n_layers, n_out = net->layout.width[last];
    const float *out = block + net->output[last];
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < n_out; j++)
            z[(int64_t)r * n_out + j] = out[(int64_t)r * net->stride[last] + j];
}

/* dL/dV of layer l from d (rows, width[l]) and the layer's inputs h (rows, width[l-1]). */
static void weight_gradient(const sp_net *net, int l, const float *h, int64_t h_stride, int rows, float *block,
                            float *grads, bool add)
{
    const sp_layout *layout = &net->layout;
    const int n_in = net->live[l - 1], n_out = layout->width[l];
    const float *d = block + net->output[l];
    float *grad = grads + net->weight[l];
    if (l > 1 && 2 * n_out <= SP_PAD) { /* few outputs: the transposed product wastes no lanes */
        float *thin = block + net->thin;
        net->kernels->product(&(sp_product){
            .m = n_out, /* live or not: the gradients of an earlier pass must not stay */
            .n = columns(net, l - 1),
            .k = rows,
            .a = d,
            .ai = 1,
            .ap = net->stride[l],
            .b = h,
            .b_row = h_stride,
            .b_panel = SP_PANEL,
            .start = zeros,
            .start_row = 0,
            .start_panel = 0,
            .start_spread = false,
            .c = thin,
            .c_row = h_stride,
            .c_panel = SP_PANEL,
            .finish = SP_KEEP_SUM,
        });
        for (int k = 0; k < n_in; k++)
            for (int j = 0; j < n_out; j++) {
                const float sum = thin[j * h_stride + k];
                grad[k * net->panel[l] + j] = add ? grad[k * net->panel[l] + j] + sum : sum;
            }
        return;
    }
    net->kernels->product(&(sp_product){
        .m = n_in,
        .n = columns(net, l),
        .k = rows,
        .a = h,
        .ai = 1,
        .ap = h_stride,
        .b = d,
        .b_row = net->stride[l],
        .b_panel = SP_PANEL,
        .start = add ? grad : zeros,
        .start_row = add ? net->panel[l] : 0,
        .start_panel = add ? (int64_t)layout->width[l - 1] * SP_PANEL : 0,
        .start_spread = false,
        .c = grad,
        .c_row = net->panel[l],
        .c_panel = (int64_t)layout->width[l - 1] * SP_PANEL,
        .finish = SP_KEEP_SUM,
    });
}

/* d_{l-1} into the place of h_{l-1} (rows, width[l-1]), from d_l. */
static void input_gradient(const sp_net *net, int l, int rows, float *block)
{
    const sp_layout *layout = &net->layout;
    float *h = block + net->output[l - 1];
    sp_finish finish = SP_TIMES_C;
    if (net->quantiser)
        sp_quantise_slope(&net->quantiser->output[l - 1], (int64_t)rows * net->stride[l - 1], h);
    if (layout->activation == SP_RELU)
        finish = SP_WHERE_C_POSITIVE;
    else
        net->kernels->slope(layout->activation, (int64_t)rows * net->stride[l - 1], h);
    net->kernels->product(&(sp_product){
        .m = rows,
        .n = columns(net, l - 1),
        .k = net->live[l],
        .a = block + net->output[l],
        .ai = net->stride[l],
        .ap = 1,
        .b = net->vt + net->transposed[l],
        .b_row = net->panel[l - 1],
        .b_panel = (int64_t)layout->width[l] * SP_PANEL,
        .start = zeros,
        .start_row = 0,
        .start_panel = 0,
        .start_spread = false,
        .c = h,
        .c_row = net->stride[l - 1],
        .c_panel = SP_PANEL,
        .finish = finish,
    });
}

void sp_net_backward(const sp_net *net, const float *x, int64_t x_stride, int rows, float *block, float *grad, bool add)
{
    for (int l = net->layout.n_layers; l >= 1; l--) {
        weight_gradient(net, l, l > 1 ? block + net->output[l - 1] : x, l > 1 ? net->stride[l - 1] : x_stride, rows,
                        block, grad, add);
        net->kernels->column_sums(rows, (net->live[l] + SP_PAD - 1) / SP_PAD * SP_PAD, block + net->output[l],
                                  net->stride[l], grad + net->bias[l], add);
        if (l > 1)
            input_gradient(net, l, rows, block);
    }
}

/* --- The model of a user's own loop ------------------------------------------------------------------------------ */

struct sp_model {
    sp_net net;
    float *grad;
    float *gates; /* of the kept forward */
    bool gated;
    float *blocks;          /* one, or those of all kept rows */
    int64_t capacity, rows; /* blocks there are; rows kept */
    double *u;
};

void sp_model_free(sp_model *model)
{
    if (!model)
        return;
    sp_net_free(&model->net);
    free(model->grad);
    free(model->gates);
    free(model->blocks);
    free(model->u);
    free(model);
}

sp_model *sp_model_new(const sp_layout *layout)
{
    sp_model *model = calloc(1, sizeof *model);
    if (!model || sp_net_init(&model->net, layout, true)) {
        free(model);
        return NULL;
    }
    model->grad = sp_floats(model->net.n_packed);
    model->gates = sp_floats(layout->n_gates);
    model->u = calloc((size_t)layout->n_gates, sizeof *model->u);
    model->blocks = sp_floats(model->net.n_block);
    model->capacity = 1;
    if (model->grad && model->gates && model->u && model->blocks)
        return model;
    sp_model_free(model);
    return NULL;
}

const sp_layout *sp_model_layout(const sp_model *model) { return &model->net.layout; }

int64_t sp_model_rows(const sp_model *model) { return model->rows; }

sp_status sp_forward(sp_model *model, const float *params, const float *gates, const float *x, int64_t rows, bool keep,
                     float *z)
{
    sp_net *net = &model->net;
    const sp_layout *layout = &net->layout;
    const int n_in = layout->width[0], n_out = layout->width[layout->n_layers];
    const int64_t n_blocks = (rows + SP_BLOCK_ROWS - 1) / SP_BLOCK_ROWS;

    model->rows = 0;
    if (keep && n_blocks > model->capacity) {
        float *blocks = sp_floats(n_blocks * net->n_block);
        if (!blocks)
            return SP_NO_MEMORY;
        free(model->blocks);
        model->blocks = blocks;
        model->capacity = n_blocks;
    }
    const uint64_t state = sp_flush_subnormals();
    sp_net_pack(net, params, net->w);
    sp_net_fold(net, gates, keep);
    for (int64_t b = 0; keep && b < n_blocks; b++) {
        const int64_t first = b * SP_BLOCK_ROWS;
        const int n = (int)(rows - first < SP_BLOCK_ROWS ? rows - first : SP_BLOCK_ROWS);
        float *block = model->blocks + b * net->n_block;
        for (int r = 0; r < n; r++)
            memcpy(block + (int64_t)r * net->stride[0], x + (first + r) * n_in, 4 * (size_t)n_in);
        sp_net_forward(net, block, net->stride[0], n, block);
        sp_net_outputs(net, block, n, z + first * n_out);
    }
    if (!keep)
        sp_net_infer(net, x, rows, model->blocks, z);
    sp_restore_subnormals(state);
    if (keep) {
        model->gated = gates != NULL;
        if (gates)
            memcpy(model->gates, gates, 4 * (size_t)layout->n_gates);
        model->rows = rows;
    }
    return SP_OK;
}

sp_status sp_backward(sp_model *model, const float *dz, float *dparams, float *dgates)
{
    sp_net *net = &model->net;
    const sp_layout *layout = &net->layout;
    const int n_out = layout->width[layout->n_layers], stride = net->stride[layout->n_layers];
    if (!model->rows)
        return SP_NOT_FORWARDED;
    const uint64_t state = sp_flush_subnormals();
    for (int64_t first = 0; first < model->rows; first += SP_BLOCK_ROWS) {
        const int n = (int)(model->rows - first < SP_BLOCK_ROWS ? model->rows - first : SP_BLOCK_ROWS);
        float *block = model->blocks + first / SP_BLOCK_ROWS * net->n_block, *d = block + net->output[layout->n_layers];
        for (int r = 0; r < n; r++)
            memcpy(d + (int64_t)r * stride, dz + (first + r) * n_out, 4 * (size_t)n_out);
        sp_net_backward(net, block, net->stride[0], n, block, model->grad, first > 0);
    }
    sp_net_gate_gradient(net, model->gated ? model->gates : NULL, model->grad, model->u);
    sp_net_unpack(net, model->grad, dparams);
    for (int i = 0; i < layout->n_gates; i++)
        dgates[i] = (float)model->u[i];
    sp_restore_subnormals(state);
    model->rows = 0;
    return SP_OK;
}
