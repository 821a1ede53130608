/* What one training holds, and the gradient of one batch: shared by train.c and path.c. */
#ifndef SP_TRAIN_H
#define SP_TRAIN_H

#include "groups.h"
#include "packed.h"
#include "team.h"

enum { SP_MAX_SLICES = 8 };

typedef struct sp_path sp_path;

typedef struct {
    float *block, *target, *weight; /* outputs of a block of rows, targets, weights */
} sp_scratch;

struct sp_trainer {
    sp_net net;
    sp_loss loss;
    sp_optimizer optimizer;
    int64_t batch_size, step;
    float *m, *v; /* packed moments */
    int n_slices, n_threads, threads_asked;
    float *grads;        /* of each slice */
    sp_scratch *scratch; /* of each thread */
    sp_team *team;       /* NULL: one thread */
    float *gates;
    double *u; /* dL/dg */
    sp_groups shadow;
    sp_path *path; /* NULL: one pass a step */
    sp_quantiser quantiser;
};

/* Rows of one step. The team's jobs take it as their context. */
typedef struct {
    sp_trainer *trainer;
    const sp_run *run;
    int64_t first, rows; /* of the run */
    const float *gates;  /* NULL: all open */
    int n_slices;
    sp_rule rule;
    float keep;
    double loss[SP_MAX_SLICES];
    /* of several passes over the rows; NULL with one */
    bool add;        /* not the first */
    float *soft;     /* (rows, width[L]): targets, made by the first pass for the others */
    float *gathered; /* (rows, stride[0]): inputs, gathered by the first pass */
} sp_batch;

/* Weights for the kernels, from b->gates. */
void sp_batch_fold(sp_batch *b);
/* dL/dv of every slice into trainer->grads, their part of the mean loss into b->loss; returns the sum of these. */
double sp_batch_gradient(sp_batch *b);

/* One step of the optimiser from the gradients of the slices. */
void sp_batch_update(sp_batch *b);

/* One step over several budgets (path.c), in place of one under the budget of each group. */
sp_status sp_path_step(sp_batch *b, const double *budget, double temperature, double rate, double *loss);
void sp_path_free(sp_path *path);

#endif
