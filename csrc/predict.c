/* Inference: weights packed once, then nothing but the products.
 *
 * The activations of a block of rows live in a spare buffer. A thread that finds it taken makes one of its own, so
 * that one predictor serves any number of threads and a single thread allocates nothing.
 */
#include "packed.h"

#include <stdatomic.h>
#include <stdlib.h>

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
    const int last = net->layout.n_layers, n_in = net->layout.width[0], n_out = net->layout.width[last];
    float *block = atomic_exchange(&predictor->spare, NULL);
    if (!block && !(block = sp_floats(net->n_block)))
        return SP_NO_MEMORY;
    const uint64_t state = sp_flush_subnormals();
    for (int64_t first = 0; first < rows; first += SP_BLOCK_ROWS) {
        const int n = (int)(rows - first < SP_BLOCK_ROWS ? rows - first : SP_BLOCK_ROWS);
        sp_net_forward(net, x + first * n_in, n_in, n, block);
        sp_net_outputs(net, block, n, z + first * n_out);
    }
    sp_restore_subnormals(state);
    free(atomic_exchange(&predictor->spare, block));
    return SP_OK;
}
