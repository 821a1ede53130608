/* The shadow of one training: groups of nodes, each under a budget, with the state of their optimiser. */
#ifndef SP_GROUPS_H
#define SP_GROUPS_H

#include "shadowprune.h"

typedef struct {
    int n, n_all;                   /* n_all: before nodes were taken off */
    int32_t *index, *layer, *order; /* order: best first, for hard gates */
    double *score, *gate, *velocity;
    double *u, *grad, *hard;
    double *solved, temperature, budget; /* scores, temperature (0: none) and budget that gate and theta are for */
    sp_cost cost;
    double *cost_block; /* linear, fixed, pair; NULL: the node count */
    int32_t *cost_layer;
    double rate, theta, theta_before, square;
    int64_t step;
} sp_group_state;

typedef struct {
    sp_method method;
    sp_family family;
    int n;
    sp_group_state *group;
} sp_groups;

void sp_groups_free(sp_groups *groups);

/* Lays new groups over the gates of a network, their optimisers at the start. */
sp_status sp_groups_set(sp_groups *groups, const sp_layout *layout, sp_method method, sp_family family, int n,
                        const sp_group *group);

/* Gates at these budgets and temperatures (n), into their places among all gates of the network. */
sp_status sp_groups_gates(sp_groups *groups, const double *budget, const double *temperature, float *gates);

/* One step of all scores along u = dL/dg of the network's gates. */
void sp_groups_step(sp_groups *groups, const double *temperature, const double *u);

/* The same groups over the reduced network, without the nodes whose keep flag is false. */
sp_status sp_groups_reduced(const sp_groups *groups, const sp_layout *layout, const bool *keep,
                            const sp_layout *reduced_layout, sp_groups *reduced);

#endif
