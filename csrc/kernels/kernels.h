/* What is compiled once per instruction set, and the table through which the core calls it.
 *
 * Sums run in one order whatever the vector width (along k in the matrix product, over 16 lanes elsewhere), so builds
 * with fused multiply-add agree bit for bit, and taking dead nodes off a network changes no bit of its outputs.
 */
#ifndef SP_KERNELS_H
#define SP_KERNELS_H

#include "shadowprune.h"

enum {
    SP_PAD = 16,   /* widths are padded to this many floats, zero beyond the width */
    SP_PANEL = 64, /* columns of a weight panel */
};

typedef enum { SP_KEEP_SUM, SP_KEEP_POSITIVE, SP_TIMES_C, SP_WHERE_C_POSITIVE, SP_N_FINISHES } sp_finish;

/* C[i][j] = finish(start[i][j] + sum_p A[i*ai + p*ap] B[p][j]),  i < m, j < n (a multiple of the vector), p < k.
   Columns of B, C and start lie in panels of SP_PANEL columns, *_panel floats apart. One of ai and ap is 1, and ap is
   where finish reads C. */
typedef struct {
    int m, n, k;
    const float *a;
    int64_t ai, ap;
    const float *b;
    int64_t b_row, b_panel;
    const float *start;
    int64_t start_row, start_panel;
    bool start_spread; /* start[i] for all j, *_row floats apart */
    float *c;
    int64_t c_row, c_panel;
    sp_finish finish;
} sp_product;

/* An optimiser at one step. c of Adam: rate/(1 - b1^t), 1 - b1, 1 - b2, 1/sqrt(1 - b2^t), epsilon; of SGD: momentum,
   rate, momentum or 1 (not Nesterov's). */
typedef struct {
    sp_optimizer_kind kind;
    bool nesterov;
    float c[5];
} sp_rule;

sp_rule sp_rule_of(const sp_optimizer *optimizer, int64_t step, double rate); /* optimizer.c; step counts from 1 */

/* One step on rows of n floats, from the sum of n_grads gradients grad_stride floats apart. With gates the gradient is
   that of v = diag(gate) w, and u_k += sum_n grad_kn w_kn. */
typedef struct {
    int rows;
    int64_t n;
    float *w, *m, *v;
    const float *grad;
    int n_grads;
    int64_t grad_stride;
    float keep;        /* 1 - rate decay */
    const float *gate; /* (rows) or NULL: ones */
    double *u;         /* (rows) or NULL; not without gate */
} sp_update_job;

struct sp_kernels {
    const char *name;
    int vector; /* floats */

    void (*product)(const sp_product *job);

    /* In place: z -> phi(z), and phi(z) -> phi'(z). */
    void (*activate)(sp_activation activation, int64_t n, float *z);
    void (*slope)(sp_activation activation, int64_t n, float *h);

    /* out[r] = x[order[r]], rows of n floats; stride of out. */
    void (*gather)(int rows, int n, const float *x, const int32_t *order, float *out, int64_t stride);

    /* out[j][r] = x[r][j], n columns to rows of out, which end in zeros up to a multiple of SP_PAD. */
    void (*columns)(int rows, int n, const float *x, int64_t stride, float *out, int64_t out_row);

    /* out (n) [+]= column sums of d (rows, n). */
    void (*column_sums)(int rows, int n, const float *d, int64_t stride, float *out, bool add);

    /* v = diag(g) w, rows of `panel` floats of which the first cols are not padding; with vt also its transpose, rows
       of vt_row floats. g NULL: w is v, and only the transpose is made. */
    void (*fold)(int rows, int cols, int panel, const float *g, const float *w, float *v, float *vt, int64_t vt_row);
    /* out [+]= gate times the sum of n_grads gradients `stride` floats apart, over n floats, a multiple of SP_PAD; out
       may be the first of them. Returns sum grad w, over 16 lanes. */
    float (*gate_gradient)(int64_t n, const float *w, const float *grad, int n_grads, int64_t stride, float gate,
                           bool add, float *out);

    void (*update)(const sp_rule *rule, const sp_update_job *job);

    /* Contiguous, padded to SP_PAD: dz = sigmoid(z) - y, loss = softplus(z) - y z. */
    void (*binary_crossentropy)(int n, const float *z, const float *y, float *loss, float *dz);
    /* p = exp(z) for z <= 0, padded to SP_PAD; returns the sum. */
    double (*exponentials)(int n, const float *z, float *p);

    void (*probabilities)(int64_t n, const float *z, double *p); /* see sp_probabilities */

    /* gate = F((s - theta)/T), slope = F'; returns sum c g, *sum_slope = sum c slope. cost may be NULL. */
    double (*gates)(sp_family family, int n, const double *score, const double *cost, double theta, double temperature,
                    double *gate, double *slope, double *sum_slope);
    /* Of logistic gates F(t): the sums of cost times F', F'', F''' and F'''', and F(t) -> F(t - step) by as many terms. */
    void (*logistic_sums)(int n, const double *gate, const double *cost, double sum[4]);
    void (*logistic_move)(int n, double *gate, double step);
    /* sum c d, sum c d s, sum c d s' of gates with slopes d at scores s, and scores s' that follow. */
    void (*falls)(sp_family family, int n, const double *gate, const double *cost, const double *score,
                  const double *next, double sum[3]);
    /* sp_gates_backward with costs of one. */
    void (*score_gradient)(sp_family family, int n, const double *gate, double temperature, const double *u,
                           double *dscore);
};

const sp_kernels *sp_kernels_in_use(void);

extern const sp_kernels sp_kernels_baseline, sp_kernels_avx2, sp_kernels_avx512;

#endif
