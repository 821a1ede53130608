/* Losses from logits, with their gradients.
 *
 *     binary cross-entropy       L = log(1 + e^z) - t z           dL/dz = sigmoid(z) - t
 *     categorical cross-entropy  L = log sum_j e^z_j sum_j t_j - sum_j t_j z_j     dL/dz = softmax(z) sum_j t_j - t
 *     squared error              L = 1/2 sum_j (z_j - t_j)^2      dL/dz = z - t
 *
 * Targets t may be any probabilities. Several outputs of a binary cross-entropy are independent labels.
 */
#include "kernels.h"

#include <math.h>

enum { CHUNK = 128 };

static double binary(int64_t rows, int n, const float *z, int64_t z_stride, const float *target, int64_t target_stride,
                     const float *weight, float scale, float *dz, int64_t dz_stride)
{
    float zs[CHUNK] __attribute__((aligned(64))), ts[CHUNK] __attribute__((aligned(64)));
    float losses[CHUNK] __attribute__((aligned(64))), ds[CHUNK] __attribute__((aligned(64)));
    double total = 0;
    for (int j = 0; j < n; j++)
        for (int64_t first = 0; first < rows; first += CHUNK) {
            const int m = rows - first < CHUNK ? (int)(rows - first) : CHUNK;
            const int padded = (m + SP_PAD - 1) / SP_PAD * SP_PAD;
            for (int r = 0; r < padded; r++) {
                zs[r] = r < m ? z[(first + r) * z_stride + j] : 0;
                ts[r] = r < m ? target[(first + r) * target_stride + j] : 0;
            }
            sp_kernels_in_use()->binary_crossentropy(padded, zs, ts, losses, ds);
            for (int r = 0; r < m; r++) {
                const float w = scale * (weight ? weight[first + r] : 1.0f);
                total += (double)w * losses[r];
                dz[(first + r) * dz_stride + j] = w * ds[r];
            }
        }
    return total;
}

static double categorical(int n, const float *z, const float *target, float w, float *dz)
{
    float p[CHUNK] __attribute__((aligned(64))), part[CHUNK] __attribute__((aligned(64))), top = z[0];
    double sum = 0, targets = 0, product = 0;
    for (int j = 1; j < n; j++)
        top = z[j] > top ? z[j] : top;
    for (int pass = 0; pass < 2; pass++) /* first the sum, then the probabilities */
        for (int first = 0; first < n; first += CHUNK) {
            const int m = n - first < CHUNK ? n - first : CHUNK, padded = (m + SP_PAD - 1) / SP_PAD * SP_PAD;
            for (int j = 0; j < padded; j++)
                part[j] = j < m ? z[first + j] - top : -1e30f;
            const double some = sp_kernels_in_use()->exponentials(padded, part, p);
            if (pass == 0) {
                sum += some;
                for (int j = 0; j < m; j++) {
                    targets += target[first + j];
                    product += (double)target[first + j] * ((double)z[first + j] - top);
                }
            } else
                for (int j = 0; j < m; j++)
                    dz[first + j] = w * (float)(p[j] / sum * targets - target[first + j]);
        }
    return w * (log(sum) * targets - product);
}

static double squared(int n, const float *z, const float *target, float w, float *dz)
{
    double total = 0;
    for (int j = 0; j < n; j++) {
        const float d = z[j] - target[j];
        total += 0.5 * (double)d * d;
        dz[j] = w * d;
    }
    return w * total;
}

double sp_loss_rows(sp_loss loss, int64_t rows, int n, const float *z, int64_t z_stride, const float *target,
                    int64_t target_stride, const float *weight, float scale, float *dz, int64_t dz_stride)
{
    if (loss == SP_BINARY_CROSSENTROPY)
        return binary(rows, n, z, z_stride, target, target_stride, weight, scale, dz, dz_stride);
    double total = 0;
    for (int64_t r = 0; r < rows; r++) {
        const float w = scale * (weight ? weight[r] : 1.0f);
        total += (loss == SP_SQUARED_ERROR ? squared : categorical)(n, z + r * z_stride, target + r * target_stride, w,
                                                                    dz + r * dz_stride);
    }
    return total;
}

void sp_probabilities(int64_t n, const float *z, double *p) { sp_kernels_in_use()->probabilities(n, z, p); }
