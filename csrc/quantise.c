/* Quantisation-aware training: the forward pass sees weights and activations as fixed point holds them,
 *
 *     v = Q(w),   h = Q(relu(z)),   Q(x) = step clip(round(x / step)),
 *
 * the backward pass sees Q as the identity (Bengio, Leonard and Courville, arXiv:1308.3432), for activations only
 * where Q does not saturate. Weights and activations of b and c bits make sums of b + c + log2(n_in) bits: while that
 * is at most 24, single precision is exact and the forward pass here gives the bits of the firmware.
 */
#include "packed.h"

#include <math.h>
#include <stdlib.h>

/* Adding and taking away 1.5 2^23 rounds |t| < 2^22 to the nearest integer, ties to even, in two vector operations. */
static const float magic = 12582912.0f;

static sp_grid make_grid(const sp_fixed *type)
{
    const float limit = ldexpf(1, type->width - type->is_signed);
    return (sp_grid){
        .step = ldexpf(1, type->integer - type->width),
        .inverse = ldexpf(1, type->width - type->integer),
        .low = type->is_signed ? -limit : 0,
        .high = limit - 1,
        .rounding = type->rounding,
    };
}

sp_status sp_quantiser_init(sp_quantiser *quantiser, int n_layers, const sp_fixed *weight, const sp_fixed *output,
                            const int *bias_fraction)
{
    for (int l = 1; l <= n_layers; l++) {
        const sp_fixed *types[] = {&weight[l - 1], l < n_layers ? &output[l - 1] : &weight[l - 1]};
        for (int i = 0; i < 2; i++)
            if (types[i]->width < 1 || types[i]->width > SP_QUANTISED_BITS || types[i]->integer < -64 ||
                types[i]->integer > 64 || !types[i]->saturates)
                return SP_BAD_TYPE;
        if (bias_fraction[l - 1] < -120 || bias_fraction[l - 1] > 120)
            return SP_BAD_TYPE;
        quantiser->weight[l] = make_grid(types[0]);
        quantiser->output[l] = make_grid(types[1]);
        quantiser->bias_step[l] = ldexpf(1, -bias_fraction[l - 1]);
    }
    return SP_OK;
}

void sp_quantise(const sp_grid *grid, int64_t n, const float *x, float *to)
{
    const float inverse = grid->inverse, step = grid->step, low = grid->low, high = grid->high;
    for (int64_t i = 0; i < n; i++) {
        float t = x[i] * inverse;
        t = t < low ? low : t;
        to[i] = t > high ? high : t;
    }
    switch (grid->rounding) {
    case SP_RND:
        for (int64_t i = 0; i < n; i++) {
            const float r = (to[i] + magic) - magic;
            to[i] = (to[i] - r == 0.5f ? r + 1 : r) * step;
        }
        break;
    case SP_TRN:
        for (int64_t i = 0; i < n; i++) {
            const float r = (to[i] + magic) - magic;
            to[i] = (r > to[i] ? r - 1 : r) * step;
        }
        break;
    case SP_RND_CONV:
        for (int64_t i = 0; i < n; i++)
            to[i] = ((to[i] + magic) - magic) * step;
        break;
    }
}

void sp_quantise_slope(const sp_grid *grid, int64_t n, float *h)
{
    const float top = grid->high * grid->step;
    for (int64_t i = 0; i < n; i++)
        h[i] = h[i] < top ? h[i] : 0;
}

void sp_quantise_weights(const sp_net *net, const sp_quantiser *quantiser, float *to)
{
    for (int l = 1; l <= net->layout.n_layers; l++) {
        const float step = quantiser->bias_step[l];
        sp_quantise(&quantiser->weight[l], net->bias[l] - net->weight[l], net->w + net->weight[l], to + net->weight[l]);
        for (int j = 0; j < net->layout.width[l]; j++) {
            const float t = net->w[net->bias[l] + j] / step, r = floorf(t);
            to[net->bias[l] + j] = (t - r >= 0.5f ? r + 1 : r) * step;
        }
    }
}
