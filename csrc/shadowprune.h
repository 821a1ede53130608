/* shadowprune: the whole C API.
 *
 * Symbols      L dense layers, width[0] inputs ... width[L] outputs; R rows; g gates; K budget.
 * Parameters   one flat float32 block: per layer W (n_in, n_out) row by row, then b (n_out).
 * Gates        one per input and per hidden node, inputs first; the gate of a node multiplies its output, which is
 *              done once per step by folding it into the next layer: V = diag(g) W.
 * Memory       belongs to the caller or to an object made once; a hot call allocates nothing.
 * Errors       are codes; nothing prints, nothing exits, nothing is global but the kernel table.
 */
#ifndef SHADOWPRUNE_H
#define SHADOWPRUNE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum {
    SP_OK = 0,
    SP_NO_MEMORY,
    SP_NO_THREADS,    /* the system gives no more */
    SP_BAD_SHAPE,     /* no layers, too many, or a width out of range */
    SP_BAD_BUDGET,    /* below what the gates can reach, or above */
    SP_EMPTY_GROUP,   /* a reduction left a budget without nodes */
    SP_NOT_CONVERGED, /* the gate solver */
    SP_NOT_FORWARDED, /* backward without a forward that kept its activations */
    SP_BAD_ISA,       /* not built in, or this processor cannot run it */
    SP_BAD_TYPE,      /* no such fixed-point type */
    SP_TOO_WIDE,      /* fixed-point numbers that may leave 62 bits */
    SP_NOT_RELU,      /* quantisation-aware training of another activation */
} sp_status;

const char *sp_message(sp_status status);

/* --- Kernels: one table per instruction set, chosen once (kernels/dispatch.c) ------------------------------------ */

typedef struct sp_kernels sp_kernels;

sp_status sp_isa_select(const char *name); /* NULL: the fastest this processor runs */
const char *sp_isa(void);                  /* the one in use */
const char *sp_isa_available(int i);       /* i-th usable, slowest first; NULL past the end */

/* --- Layout of a network (network.c) ----------------------------------------------------------------------------- */

enum { SP_MAX_LAYERS = 32, SP_MAX_WIDTH = 1 << 24 }; /* no product or sum of widths overflows */

typedef enum { SP_LINEAR, SP_RELU, SP_LEAKY_RELU, SP_TANH, SP_SIGMOID } sp_activation; /* of the hidden layers */

#define SP_LEAKY_SLOPE 0.01f

typedef struct {
    int n_layers;
    sp_activation activation;
    int width[SP_MAX_LAYERS + 1];
    int64_t weight[SP_MAX_LAYERS + 1]; /* where W of layer l (1..L) begins in the flat block */
    int64_t bias[SP_MAX_LAYERS + 1];
    int64_t n_params;
    int gate[SP_MAX_LAYERS + 1]; /* where the gates of the nodes of layer l (0..L-1) begin */
    int n_gates;
} sp_layout;

sp_status sp_layout_init(sp_layout *layout, int n_layers, const int *width, sp_activation activation);

/* --- Forward and backward (network.c) ---------------------------------------------------------------------------- */

typedef struct sp_model sp_model; /* packed weights and row-block memory of one layout */

sp_model *sp_model_new(const sp_layout *layout);
void sp_model_free(sp_model *model);
const sp_layout *sp_model_layout(const sp_model *model);

/* x (rows, width[0]) row by row -> z (rows, width[L]) logits. gates (n_gates) or NULL for ones. keep: remember the
   activations of all rows for sp_backward. */
sp_status sp_forward(sp_model *model, const float *params, const float *gates, const float *x, int64_t rows, bool keep,
                     float *z);

/* dz (rows, width[L]) of the last kept forward -> dparams (n_params), dgates (n_gates). Uses the activations up. */
sp_status sp_backward(sp_model *model, const float *dz, float *dparams, float *dgates);

int64_t sp_model_rows(const sp_model *model); /* rows of the kept forward, 0 without one */

/* --- Inference (predict.c) --------------------------------------------------------------------------------------- */

typedef struct sp_predictor sp_predictor; /* a network that no longer changes */

sp_predictor *sp_predictor_new(const sp_layout *layout, const float *params);
void sp_predictor_free(sp_predictor *predictor);
const sp_layout *sp_predictor_layout(const sp_predictor *predictor);

/* x (rows, width[0]) -> z (rows, width[L]); from any number of threads at once. */
sp_status sp_predict(sp_predictor *predictor, const float *x, int64_t rows, float *z);

/* --- Losses from logits (loss.c) --------------------------------------------------------------------------------- */

typedef enum { SP_BINARY_CROSSENTROPY, SP_CATEGORICAL_CROSSENTROPY, SP_SQUARED_ERROR } sp_loss;

/* z, target, dz (rows, n) with row strides; weight (rows) or NULL; dz = scale weight dloss/dz. Returns the sum of the
   weighted losses, times scale. */
double sp_loss_rows(sp_loss loss, int64_t rows, int n, const float *z, int64_t z_stride, const float *target,
                    int64_t target_stride, const float *weight, float scale, float *dz, int64_t dz_stride);

/* p (n, 2) = 1 - sigmoid(z), sigmoid(z), each to the last places of a double however small. */
void sp_probabilities(int64_t n, const float *z, double *p);

/* --- Optimisers of the weights (optimizer.c) --------------------------------------------------------------------- */

typedef enum { SP_ADAM, SP_SGD } sp_optimizer_kind;

typedef struct {
    sp_optimizer_kind kind;
    double beta_1, beta_2, epsilon; /* Adam with decoupled weight decay */
    double momentum;                /* SGD */
    bool nesterov;
} sp_optimizer;

/* One step on n parameters; step counts from 1. decay multiplies the learning rate: w <- w (1 - rate decay) first.
   v is not used by SGD. */
void sp_optimizer_step(const sp_optimizer *optimizer, int64_t n, float *w, const float *grad, float *m, float *v,
                       int64_t step, double rate, double decay);

/* --- Shadow: scores -> gates at exact cost (shadow.c) ------------------------------------------------------------ */

typedef enum { SP_LOGISTIC, SP_LAPLACE } sp_family;

/* C(g) = sum_i linear_i g_i + sum_l pair_l N_l N_(l+1),  N_l = fixed_l + sum of the gates of layer l. */
typedef struct {
    const double *linear; /* (n), at least 0; NULL: ones, or zeros beside pairs */
    int n_layers;         /* 0: no pairs */
    const int32_t *layer; /* (n) from 0 to n_layers - 1 */
    const double *fixed;  /* (n_layers) at least 0: nodes that no gate of the group stands for */
    const double *pair;   /* (n_layers - 1) at least 0 */
} sp_cost;

/* Where theta comes to lie, to first order, when scores and temperature change and the budget grows by `more`: from the
   gates at theta. cost: linear, NULL: ones. NaN where all gates are open or closed. */
double sp_gates_ahead(sp_family family, int n, const double *gate, const double *cost, const double *score_before,
                      const double *score, double theta, double temperature_before, double temperature, double more);

/* g_i = F((s_i - theta)/T) with C(g) = budget. cost NULL: the node count. theta: start in, solution out. */
sp_status sp_gates(sp_family family, int n, const double *score, const sp_cost *cost, double budget, double temperature,
                   double *theta, double *gate);

/* dL/ds from u = dL/dg, at the gates found. */
void sp_gates_backward(sp_family family, int n, const double *gate, const sp_cost *cost, double temperature,
                       const double *u, double *dscore);

/* Momentum over one running mean square of the whole gradient, of which n of n_all scores are left (the others' is zero).
   Returns that mean square. */
double sp_scores_step(int n, int n_all, double *score, const double *grad, double *velocity, double square,
                      int64_t step, double rate);

/* Nodes a layer keeps at least and at most, indexed by layer, in multiples; one narrower than low keeps all it has. */
typedef struct {
    const int32_t *low, *high;
    int multiple; /* 1 or more */
} sp_limits;

/* The low best of each layer, then the best blocks of `multiple` nodes overall until n_nodes are kept; ties go to the
   lower index. */
sp_status sp_select(int n, const double *score, const int32_t *layer, int n_nodes, const sp_limits *limits, bool *keep);

/* --- Other ways to choose nodes (variants.c) --------------------------------------------------------------------- */

typedef enum { SP_SHADOW, SP_STRAIGHT_THROUGH, SP_TAYLOR } sp_method;

#define SP_TAYLOR_SHARE 0.01 /* of a new step in the running mean */

/* soft (n) gates -> hard (n): the best by score at one, as many as the soft ones add up to, but at least one in every
   layer; the others at zero. order (n): any permutation in, best first out; kept from step to step. */
void sp_gates_harden(int n, const double *score, const double *soft, const int32_t *layer, int32_t *order,
                     double *hard);

/* Running mean of (gate u)^2 into the scores; step counts from 1, and the first replaces them. */
void sp_taylor_step(int n, double *score, const double *gate, const double *u, int64_t step);

/* --- Reduction (reduce.c) ---------------------------------------------------------------------------------------- */

/* Layout and parameters without the nodes whose keep flag (n_gates) is false. */
sp_status sp_reduce_layout(const sp_layout *layout, const bool *keep, sp_layout *reduced);
void sp_reduce(const sp_layout *layout, const bool *keep, const float *params, float *reduced);

/* Parameters with the inputs and hidden nodes in another order: node i is what order[i] was, both counted among all
   gates and of one layer. */
void sp_permute(const sp_layout *layout, const int32_t *order, const float *params, float *permuted);

/* --- Fixed point (fixed.c) --------------------------------------------------------------------------------------- */

typedef enum { SP_TRN, SP_RND, SP_RND_CONV } sp_rounding;

typedef struct { /* ap_fixed<width, integer, rounding, saturates ? SAT : WRAP> */
    int width, integer;
    bool is_signed, saturates;
    sp_rounding rounding;
} sp_fixed;

/* Multiples v (n) of the type's step that it holds for x (n), finite. */
sp_status sp_fixed_cast(const sp_fixed *type, int64_t n, const double *x, int64_t *v);

/* Entries of the tables of tanh on [-4, 4) and sigmoid on [-8, 8), in the single precision of hls4ml. */
void sp_fixed_table(sp_activation activation, int n, float *table);

typedef struct {
    int n_in, n_out;
    const int64_t *weight, *bias; /* (n_in, n_out), (n_out): multiples of 2^-fraction */
    int weight_fraction, bias_fraction;
    sp_fixed accum, result, output; /* of the sum, of what is activated, of the activation */
    sp_activation activation;
    int64_t slope; /* leaky_relu: of negative values, in multiples of 2^-slope_fraction */
    int slope_fraction, n_table;
    const int64_t *table; /* tanh, sigmoid: n_table (a power of two) multiples of the output's step */
} sp_fixed_layer;

typedef struct {
    sp_fixed input, aligned;
    const int64_t *offset; /* (n_in) in steps of the input; NULL with shift: no alignment */
    const int32_t *shift;  /* (n_in) the first layer takes (x - offset) 2^shift as aligned holds it */
    int n_layers;
    const sp_fixed_layer *layers;
} sp_fixed_spec;

typedef struct sp_fixed_net sp_fixed_net;

/* where: the dense layer at fault, from 1; 0: the inputs. */
sp_status sp_fixed_new(const sp_fixed_spec *spec, sp_fixed_net **net, int *where);
void sp_fixed_free(sp_fixed_net *net);
int sp_fixed_inputs(const sp_fixed_net *net);
int sp_fixed_outputs(const sp_fixed_net *net);
int64_t sp_fixed_work(const sp_fixed_net *net); /* numbers of scratch memory that a forward pass needs */

/* x (rows, n_inputs), finite -> z (rows, n_outputs), exact. Threads may share net, not work. */
void sp_fixed_forward(const sp_fixed_net *net, const double *x, int64_t rows, int64_t *work, double *z);

/* --- Training (train.c) ------------------------------------------------------------------------------------------ */

typedef struct sp_trainer sp_trainer; /* weights, moments, scores and scratch memory of one training */

/* n_threads share out each step; their number changes no bit of the result. */
sp_status sp_trainer_new(const sp_layout *layout, sp_loss loss, const sp_optimizer *optimizer, int64_t batch_size,
                         int n_threads, sp_trainer **trainer);
void sp_trainer_free(sp_trainer *trainer);
const sp_layout *sp_trainer_layout(const sp_trainer *trainer);
int64_t sp_trainer_batch_size(const sp_trainer *trainer);

void sp_trainer_set(sp_trainer *trainer, const float *params, const float *m, const float *v, int64_t step);
int64_t sp_trainer_get(const sp_trainer *trainer, float *params, float *m, float *v); /* returns the step */

typedef struct {
    int n;                /* nodes covered */
    const int32_t *index; /* their places among all gates */
    const double *score;
    const sp_cost *cost; /* NULL: the node count */
    double rate;
} sp_group; /* nodes under one budget */

sp_status sp_trainer_set_shadow(sp_trainer *trainer, sp_method method, sp_family family, int n_groups,
                                const sp_group *groups);
int sp_trainer_n_groups(const sp_trainer *trainer);
int sp_trainer_group_size(const sp_trainer *trainer, int group);
const double *sp_trainer_scores(const sp_trainer *trainer, int group);
const float *sp_trainer_gates(const sp_trainer *trainer); /* (n_gates) of the last step */

/* A new trainer that goes on from here without the nodes whose keep flag (n_gates) is false, a quantiser or a path. */
sp_status sp_trainer_reduced(const sp_trainer *trainer, const bool *keep, sp_trainer **reduced);

/* From now on the forward pass sees weights, biases and the outputs of hidden layers on these grids (quantise.c): types
   of weights (n_layers) and outputs (n_layers - 1), at most 16 bits and saturating; biases in multiples of 2^-fraction
   (n_layers). */
sp_status sp_trainer_set_quantiser(sp_trainer *trainer, const sp_fixed *weight, const sp_fixed *output,
                                   const int *bias_fraction);

/* --- One training, every budget (path.c) ------------------------------------------------------------------------- */

/* From now on a step passes n_passes times over its rows, each time under a budget of its own. Budgets are counts on the
   one group of the shadow, which there must be; one of all its nodes skips the pass, unless it is the first. Corrections
   stand on n_knots (2 or more) knots, rising counts, the last of them all nodes, where they are zero. */
sp_status sp_trainer_set_path(sp_trainer *trainer, int n_passes, int n_knots, const double *knot);
int sp_trainer_n_knots(const sp_trainer *trainer);   /* 0: no path */
int sp_trainer_n_budgets(const sp_trainer *trainer); /* of one step: one per group, or one per pass */

/* The gates are hard from now on: open under a budget K are the nodes of the group with rank (n) below K. */
void sp_trainer_freeze(sp_trainer *trainer, const int32_t *rank);

/* Another order of the nodes within each hidden layer: node i is what order[i] (n_gates) was. Nodes of the group change
   places with each other only. */
sp_status sp_trainer_permute(sp_trainer *trainer, const int32_t *order);

/* gain (n_knots - 1, n_gates), shift (n_knots - 1, hidden nodes and outputs); zero at first. */
void sp_trainer_set_corrections(sp_trainer *trainer, const float *gain, const float *shift);
void sp_trainer_get_corrections(const sp_trainer *trainer, float *gain, float *shift);

typedef struct {
    const float *x;                     /* (n_rows, width[0]) */
    const float *target;                /* (n_rows, width[L]) */
    const float *weight;                /* (n_rows) or NULL */
    const int32_t *order;               /* rows to train on, in this order; NULL: as they lie */
    int64_t first, n;                   /* n of these, from the first on */
    const float *rate, *decay;          /* (n_steps), n_steps = ceil(n / batch_size) */
    const double *budget, *temperature; /* (n_steps, n_budgets), (n_steps, n_groups); NULL without a shadow */
    double *loss;                       /* (n_steps) out: mean over the batch */
} sp_run;

/* Steps through the run; on an error *done steps are complete and the trainer is usable. */
sp_status sp_trainer_run(sp_trainer *trainer, const sp_run *run, int64_t *done);

#endif
