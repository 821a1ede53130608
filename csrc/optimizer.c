/* Optimisers of the weights; both with decoupled weight decay (Loshchilov, Hutter, ICLR 2019).
 *
 *     Adam  m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2
 *           w <- w (1 - rate decay) - rate / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + epsilon)
 *     SGD   u <- momentum u - rate g,   w <- w (1 - rate decay) + u     (Nesterov: + momentum u - rate g)
 *
 * The bias corrections are computed in float64: powf drifts enough to change the sign of small activations.
 */
#include "kernels.h"

#include <math.h>

sp_rule sp_rule_of(const sp_optimizer *optimizer, int64_t step, double rate)
{
    if (optimizer->kind == SP_SGD) {
        const float momentum = (float)optimizer->momentum;
        return (sp_rule){SP_SGD, optimizer->nesterov, {momentum, (float)rate, optimizer->nesterov ? momentum : 1.0f}};
    }
    return (sp_rule){SP_ADAM,
                     false,
                     {
                         (float)(rate / (1 - pow(optimizer->beta_1, (double)step))),
                         (float)(1 - optimizer->beta_1),
                         (float)(1 - optimizer->beta_2),
                         (float)(1 / sqrt(1 - pow(optimizer->beta_2, (double)step))),
                         (float)optimizer->epsilon,
                     }};
}

void sp_optimizer_step(const sp_optimizer *optimizer, int64_t n, float *w, const float *grad, float *m, float *v,
                       int64_t step, double rate, double decay)
{
    const sp_rule rule = sp_rule_of(optimizer, step, rate);
    sp_kernels_in_use()->update(&rule, &(sp_update_job){
                                           .rows = 1,
                                           .n = n,
                                           .w = w,
                                           .m = m,
                                           .v = v,
                                           .grad = grad,
                                           .n_grads = 1,
                                           .keep = (float)(1 - rate * decay),
                                       });
}
