/* Taking dead nodes off. A node whose gate is zero gives nothing to the next layer, so its row there and its column
 * and bias here can go; the rest stays in order, and since every sum over nodes runs in that order, adding the dead
 * nodes' zeros or leaving them out gives the same bits.
 */
#include "shadowprune.h"

#include <stddef.h>

sp_status sp_reduce_layout(const sp_layout *layout, const bool *keep, sp_layout *reduced)
{
    int width[SP_MAX_LAYERS + 1];
    for (int l = 0; l < layout->n_layers; l++) {
        width[l] = 0;
        for (int i = 0; i < layout->width[l]; i++)
            width[l] += keep[layout->gate[l] + i];
    }
    width[layout->n_layers] = layout->width[layout->n_layers];
    return sp_layout_init(reduced, layout->n_layers, width, layout->activation);
}

void sp_reduce(const sp_layout *layout, const bool *keep, const float *params, float *reduced)
{
    for (int l = 1; l <= layout->n_layers; l++) {
        const int n_in = layout->width[l - 1], n_out = layout->width[l];
        const bool *keep_in = keep + layout->gate[l - 1], *keep_out = l < layout->n_layers ? keep + layout->gate[l] : 0;
        for (int k = 0; k <= n_in; k++) { /* the last row is the bias */
            if (k < n_in && !keep_in[k])
                continue;
            const float *row = params + layout->weight[l] + (int64_t)k * n_out;
            for (int j = 0; j < n_out; j++)
                if (!keep_out || keep_out[j])
                    *reduced++ = row[j];
        }
    }
}

void sp_permute(const sp_layout *layout, const int32_t *order, const float *params, float *permuted)
{
    for (int l = 1; l <= layout->n_layers; l++) {
        const int n_in = layout->width[l - 1], n_out = layout->width[l];
        const int32_t *in = order + layout->gate[l - 1], *out = l < layout->n_layers ? order + layout->gate[l] : NULL;
        for (int k = 0; k <= n_in; k++) { /* the bias is the last row */
            const int64_t from = layout->weight[l] + (k < n_in ? (int64_t)(in[k] - layout->gate[l - 1]) : n_in) * n_out;
            float *to = permuted + layout->weight[l] + (int64_t)k * n_out;
            for (int j = 0; j < n_out; j++)
                to[j] = params[from + (out ? out[j] - layout->gate[l] : j)];
        }
    }
}
