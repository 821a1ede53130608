/* Everything an instruction set provides, under its name. */
#include "kernels.h"

#include "tile.h"
#include "elementwise.h"
#include "doubles.h"
#include "columns.h"

#define TABLE_(name) sp_kernels_##name
#define TABLE(name) TABLE_(name)
#define STRING_(name) #name
#define STRING(name) STRING_(name)

const sp_kernels TABLE(NAME) = {
    .name = STRING(NAME),
    .vector = VECTOR,
    .product = product,
    .activate = activate,
    .slope = slope,
    .gather = gather,
    .columns = columns,
    .column_sums = column_sums,
    .fold = fold,
    .gate_gradient = gate_gradient,
    .update = update,
    .binary_crossentropy = binary_crossentropy,
    .exponentials = exponentials,
    .probabilities = probabilities,
    .gates = gates,
    .logistic_sums = logistic_sums,
    .logistic_move = logistic_move,
    .falls = falls,
    .score_gradient = score_gradient,
};
