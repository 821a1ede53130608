/* The working copy of one network, laid out for the kernels; shared by sp_model and sp_trainer.
 *
 * Weights   layer l in panels of SP_PANEL columns, each panel row by row over the inputs; one panel as narrow as the
 *           padded width if that is below SP_PANEL. Then the bias, padded.
 * Rows      are worked on in blocks of SP_BLOCK_ROWS, which stay in the cache through all layers. A block holds the
 *           outputs of every layer, row by row, each row padded (and above SP_PANEL by SP_PAD more, so that rows do not
 *           fall on the same cache sets).
 */
#ifndef SP_PACKED_H
#define SP_PACKED_H

#include "kernels.h"

enum { SP_BLOCK_ROWS = 128 };

/* Subnormal numbers count as zero while the core computes: gates about to close would slow every product tenfold.
   Returns the state to restore. */
#ifdef __SSE__
#include <xmmintrin.h>
static inline uint64_t sp_flush_subnormals(void)
{
    const unsigned state = _mm_getcsr();
    _mm_setcsr(state | 0x8040);
    return state;
}
static inline void sp_restore_subnormals(uint64_t state) { _mm_setcsr((unsigned)state); }
#elif defined(__aarch64__)
static inline void sp_restore_subnormals(uint64_t state) { __asm__ volatile("msr fpcr, %0" : : "r"(state)); }
static inline uint64_t sp_flush_subnormals(void)
{
    uint64_t state;
    __asm__ volatile("mrs %0, fpcr" : "=r"(state));
    sp_restore_subnormals(state | 1u << 24);
    return state;
}
#else
static inline uint64_t sp_flush_subnormals(void) { return 0; }
static inline void sp_restore_subnormals(uint64_t state) { (void)state; }
#endif

enum { SP_PIECE_ROWS = 32 }; /* a multiple of SP_PAD that divides SP_PANEL */

typedef struct {
    int layer, first, rows; /* some rows of W of this layer; the bias belongs to the first piece */
} sp_piece;
/* --- Quantisation-aware training (quantise.c) -------------------------------------------------------------------- */

enum { SP_QUANTISED_BITS = 16 };

typedef struct {
    float step, inverse, low, high; /* limits in steps */
    sp_rounding rounding;
} sp_grid;

typedef struct {
    sp_grid weight[SP_MAX_LAYERS + 1], output[SP_MAX_LAYERS + 1]; /* of layer l; outputs of hidden layers only */
    float bias_step[SP_MAX_LAYERS + 1];
} sp_quantiser;

sp_status sp_quantiser_init(sp_quantiser *quantiser, int n_layers, const sp_fixed *weight, const sp_fixed *output,
                            const int *bias_fraction);
void sp_quantise(const sp_grid *grid, int64_t n, const float *x, float *to);

/* Outputs h of a relu that saturate, which pass no gradient, become zero. */
void sp_quantise_slope(const sp_grid *grid, int64_t n, float *h);

/* --- The network ------------------------------------------------------------------------------------------------- */

typedef struct {
    const sp_kernels *kernels;
    sp_layout layout;
    int live[SP_MAX_LAYERS + 1];   /* nodes of each layer that are computed, from the first */
    int panel[SP_MAX_LAYERS + 1];  /* floats in a panel row of the weights of layer l, and of its outputs */
    int stride[SP_MAX_LAYERS + 1]; /* floats in a row of outputs of layer l (0: inputs) */
    int64_t weight[SP_MAX_LAYERS + 1], bias[SP_MAX_LAYERS + 1], n_packed;
    int64_t transposed[SP_MAX_LAYERS + 1];
    double by_rows, by_columns; /* cost of a row with its nodes as lanes, and of a vector of rows as lanes */
    int64_t output[SP_MAX_LAYERS + 1], thin, n_block; /* places in a block */
    float *w;                                         /* weights and biases */
    float *v;                                         /* w with the gates folded in; w itself without gates */
    float *vt;                                        /* v transposed, for the gradient of a layer's input */
    float *folded;
    int n_pieces; /* of the work that goes over all weights */
    sp_piece *pieces;
    const sp_quantiser *quantiser; /* NULL: none; hidden layers are relu */
    float *quantised;              /* w on its grid, which then takes the place of w in v */
} sp_net;

void sp_quantise_weights(const sp_net *net, const sp_quantiser *quantiser, float *to);

/* foldable: with the memory that gates and a backward pass need. */
sp_status sp_net_init(sp_net *net, const sp_layout *layout, bool foldable);
void sp_net_free(sp_net *net);

float *sp_floats(int64_t n); /* zeroed, aligned to 64 bytes; NULL without memory */

void sp_net_pack(const sp_net *net, const float *flat, float *packed);
void sp_net_unpack(const sp_net *net, const float *packed, float *flat);

/* v = diag(g) w, and vt if a backward pass follows. gates NULL: v = w. Whole, or after sp_net_fold_begin by pieces. */
void sp_net_fold(sp_net *net, const float *gates, bool transpose);
void sp_net_fold_begin(sp_net *net, const float *gates);
void sp_net_fold_piece(const sp_net *net, const float *gates, bool transpose, int piece);

/* Outputs of rows of x (row stride) through all layers into the block. */
void sp_net_forward(const sp_net *net, const float *x, int64_t x_stride, int rows, float *block);

/* Layer l with rows as lanes: in (width[l-1], lanes) -> out (width[l], lanes), lanes up to SP_PANEL. */
void sp_net_layer_columns(const sp_net *net, int l, const float *in, int rows, int lanes, float *out, sp_finish finish);

/* z (rows, width[L]) of x (rows, width[0]), by rows as lanes where that is faster; the bits of sp_net_forward. */
void sp_net_infer(const sp_net *net, const float *x, int64_t rows, float *block, float *z);

/* z (rows, width[L]) of the last forward pass through the block. */
void sp_net_outputs(const sp_net *net, const float *block, int rows, float *z);

/* From dL/dz in the block's last layer: grad [+]= dL/dv. The block's outputs are overwritten. */
void sp_net_backward(const sp_net *net, const float *x, int64_t x_stride, int rows, float *block, float *grad,
                     bool add);

/* grad: dL/dv -> dL/dw = diag(g) dL/dv; u_k = dL/dg_k = sum_n dL/dv_kn w_kn. gates NULL: ones. */
void sp_net_gate_gradient(const sp_net *net, const float *gates, float *grad, double *u);

/* total [+]= dL/dw = diag(g) dL/dv over what is live of a piece, dL/dv being the sum of n_grads blocks; u as above,
   unless NULL. */
void sp_net_collect_piece(const sp_net *net, const float *gates, const float *grads, int n_grads, bool add,
                          float *total, double *u, int piece);

/* One step of the optimiser on the rows of a piece, from dL/dv = the sum of n_grads blocks one after the other in
   grads; u as above, unless NULL. Weights are first multiplied by keep, biases are not. */
void sp_net_update_piece(sp_net *net, const sp_rule *rule, float keep, const float *gates, const float *grads,
                         int n_grads, float *m, float *v, double *u, int piece);

#endif
