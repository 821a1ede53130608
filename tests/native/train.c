/* A small training with the C core alone: what `make arm` runs under emulation and beside the host's own build.
 * Prints the losses of its last ten steps and a logit; the argument is the number of threads. */
#include "shadowprune.h"

#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 3000, INPUTS = 10, BATCH = 300, STEPS = ROWS / BATCH, EPOCHS = 20, HIDDEN = 34 };

static unsigned state = 1;

static float uniform(void)
{
    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) / (1 << 24) - 0.5f;
}

int main(int argc, char **argv)
{
    static float x[ROWS * INPUTS], y[ROWS], rate[STEPS], decay[STEPS];
    static int32_t order[ROWS], index[HIDDEN];
    static double score[HIDDEN], budget[STEPS], temperature[STEPS], loss[STEPS];
    const int width[] = {INPUTS, 21, HIDDEN - 21, 1}, threads = argc > 1 ? atoi(argv[1]) : 1;
    const sp_optimizer adam = {.kind = SP_ADAM, .beta_1 = 0.9, .beta_2 = 0.999, .epsilon = 1e-8};
    sp_layout layout;
    sp_trainer *trainer = NULL;
    if (sp_isa_select(NULL) || sp_layout_init(&layout, 3, width, SP_TANH) ||
        sp_trainer_new(&layout, SP_BINARY_CROSSENTROPY, &adam, BATCH, threads, &trainer))
        return 1;
    float *params = calloc((size_t)layout.n_params, sizeof *params), *zeros = calloc((size_t)layout.n_params, 4);
    for (int64_t i = 0; i < layout.n_params; i++)
        params[i] = uniform();
    sp_trainer_set(trainer, params, zeros, zeros, 0);
    for (int i = 0; i < ROWS; i++) {
        order[i] = i;
        for (int j = 0; j < INPUTS; j++)
            x[i * INPUTS + j] = 3 * uniform();
        y[i] = x[i * INPUTS] * x[i * INPUTS + 1] > 0;
    }
    for (int i = 0; i < HIDDEN; i++) {
        index[i] = INPUTS + i;
        score[i] = 0.001 * i;
    }
    for (int i = 0; i < STEPS; i++) {
        rate[i] = 5e-3f;
        decay[i] = 0.1f;
        budget[i] = HIDDEN - 2 * i;
        temperature[i] = 0.3;
    }
    const sp_group group = {.n = HIDDEN, .index = index, .score = score, .rate = 0.02};
    const sp_run run = {.x = x,
                        .target = y,
                        .order = order,
                        .n = ROWS,
                        .rate = rate,
                        .decay = decay,
                        .budget = budget,
                        .temperature = temperature,
                        .loss = loss};
    if (sp_trainer_set_shadow(trainer, SP_SHADOW, SP_LOGISTIC, 1, &group))
        return 1;
    for (int e = 0; e < EPOCHS; e++) {
        int64_t done;
        if (sp_trainer_run(trainer, &run, &done))
            return 1;
    }
    for (int i = 0; i < STEPS; i++)
        printf("%.4f\n", loss[i]);
    static float z[ROWS], one;
    sp_trainer_get(trainer, params, zeros, zeros);
    sp_predictor *predictor = sp_predictor_new(&layout, params);
    if (!predictor || sp_predict(predictor, x, ROWS, z))
        return 1;
    for (int i = 0; i < ROWS; i += 7) /* one row has its nodes as lanes, many are lanes themselves: the same bits */
        if (sp_predict(predictor, x + i * INPUTS, 1, &one) || one != z[i])
            return 1;
    printf("%.3f\n", z[0]);
    sp_predictor_free(predictor);
    sp_trainer_free(trainer);
    free(params);
    free(zeros);
    return 0;
}
