/* What went wrong, in words. */
#include "shadowprune.h"

#include <stddef.h>

const char *sp_message(sp_status status)
{
    switch (status) {
    case SP_OK: return "no error";
    case SP_NO_MEMORY: return "out of memory";
    case SP_NO_THREADS: return "the system gives no more threads; ask for fewer";
    case SP_BAD_SHAPE: return "widths must hold 2 to 33 numbers, each from 1 to 16777216";
    case SP_BAD_BUDGET: return "the budget is outside what the gates can reach";
    case SP_EMPTY_GROUP: return "keep leaves no node of those a budget covers";
    case SP_NOT_CONVERGED: return "no threshold meets the budget: the temperature is too low for these scores";
    case SP_NOT_FORWARDED: return "backward needs a forward pass that kept its activations, once each";
    case SP_BAD_ISA: return "this instruction set is not built in, or not on this processor";
    case SP_BAD_TYPE: return "a fixed-point type must have 1 to 62 bits, and -256 to 256 of them integer bits";
    case SP_TOO_WIDE: return "fixed-point numbers here may need more than 62 bits";
    case SP_NOT_RELU: return "quantisation-aware training needs relu";
    }
    return "unknown error";
}
