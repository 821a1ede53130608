/* The methods of _core.Trainer for one training under every budget. */
#include "trainer.h"

PyObject *sp_py_set_path(TrainerObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"knots", "passes", NULL};
    PyObject *knots_obj;
    int passes;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "Oi:set_path", names, &knots_obj, &passes) ||
        sp_check("passes", passes, 2, false))
        return NULL;
    PyArrayObject *knots = sp_in_vector(knots_obj, "knots", NPY_FLOAT64, -1);
    if (!knots)
        return NULL;
    const double *knot = PyArray_DATA(knots);
    const npy_intp n = PyArray_DIM(knots, 0);
    bool ok = sp_at_least(knots, "knots", 1);
    if (ok && n < 2) {
        PyErr_Format(PyExc_ValueError, "knots has %zd entries; it needs at least 2", (Py_ssize_t)n);
        ok = false;
    }
    for (npy_intp i = 1; ok && i < n; i++)
        if (knot[i] <= knot[i - 1]) {
            PyErr_SetString(PyExc_ValueError, "knots must rise");
            ok = false;
        }
    if (ok && !sp_enter(self)) {
        const int n_groups = sp_trainer_n_groups(self->trainer);
        ok = n_groups == 1;
        if (!ok)
            PyErr_Format(PyExc_ValueError, "a path needs a shadow of one group, this training has %d", n_groups);
        else
            ok = !sp_raise(sp_trainer_set_path(self->trainer, passes, (int)n, knot));
        sp_leave(self);
    } else
        ok = false;
    DROP(knots);
    if (!ok)
        return NULL;
    Py_RETURN_NONE;
}

static bool has_path(TrainerObject *self)
{
    if (sp_trainer_n_knots(self->trainer))
        return true;
    PyErr_SetString(PyExc_RuntimeError, "this training has no path: call set_path first");
    return false;
}

PyObject *sp_py_freeze(TrainerObject *self, PyObject *rank_obj)
{
    bool ok = false;
    PyArrayObject *rank = NULL;
    if (sp_enter(self))
        return NULL;
    if (has_path(self) && (rank = sp_in_vector(rank_obj, "rank", NPY_INT32, sp_trainer_group_size(self->trainer, 0)))) {
        sp_trainer_freeze(self->trainer, PyArray_DATA(rank));
        ok = true;
    }
    sp_leave(self);
    DROP(rank);
    if (!ok)
        return NULL;
    Py_RETURN_NONE;
}

/* Whether order holds every gate of each layer once, the inputs in their places. */
static bool check_order(const sp_layout *layout, const int32_t *order)
{
    bool *seen = PyMem_Calloc((size_t)layout->n_gates, sizeof *seen);
    bool ok = seen != NULL;
    if (!ok)
        PyErr_NoMemory();
    for (int l = 0; ok && l < layout->n_layers; l++)
        for (int i = layout->gate[l]; ok && i < layout->gate[l] + layout->width[l]; i++) {
            const int32_t at = order[i];
            ok = at >= layout->gate[l] && at < layout->gate[l] + layout->width[l] && !seen[at] && (l > 0 || at == i);
            if (ok)
                seen[at] = true;
            else
                PyErr_Format(PyExc_ValueError, "order holds %d at %d; it must permute the nodes of each hidden layer",
                             (int)at, i);
        }
    PyMem_Free(seen);
    return ok;
}

PyObject *sp_py_permute(TrainerObject *self, PyObject *order_obj)
{
    const sp_layout *layout = sp_trainer_layout(self->trainer);
    PyArrayObject *order = sp_in_vector(order_obj, "order", NPY_INT32, layout->n_gates);
    bool ok = order && check_order(layout, PyArray_DATA(order)) && !sp_enter(self);
    if (ok) {
        ok = has_path(self) && !sp_raise(sp_trainer_permute(self->trainer, PyArray_DATA(order)));
        sp_leave(self);
    }
    DROP(order);
    if (!ok)
        return NULL;
    Py_RETURN_NONE;
}

/* Shapes of gains and shifts. */
static void correction_shapes(TrainerObject *self, npy_intp *gain, npy_intp *shift)
{
    const sp_layout *layout = sp_trainer_layout(self->trainer);
    gain[0] = shift[0] = sp_trainer_n_knots(self->trainer) - 1;
    gain[1] = layout->n_gates;
    shift[1] = layout->n_gates - layout->width[0] + layout->width[layout->n_layers];
}

PyObject *sp_py_set_corrections(TrainerObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"gain", "shift", NULL};
    PyObject *gain_obj, *shift_obj;
    PyArrayObject *gain = NULL, *shift = NULL;
    npy_intp of_gain[2], of_shift[2];
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO:set_corrections", names, &gain_obj, &shift_obj) ||
        sp_enter(self))
        return NULL;
    bool ok = has_path(self);
    if (ok) {
        correction_shapes(self, of_gain, of_shift);
        ok = (gain = sp_in(gain_obj, "gain", NPY_FLOAT32, 2, of_gain)) &&
             (shift = sp_in(shift_obj, "shift", NPY_FLOAT32, 2, of_shift));
    }
    if (ok)
        sp_trainer_set_corrections(self->trainer, PyArray_DATA(gain), PyArray_DATA(shift));
    sp_leave(self);
    DROP(gain);
    DROP(shift);
    if (!ok)
        return NULL;
    Py_RETURN_NONE;
}

PyObject *sp_py_get_corrections(TrainerObject *self, PyObject *unused)
{
    (void)unused;
    PyArrayObject *gain = NULL, *shift = NULL;
    PyObject *result = NULL;
    npy_intp of_gain[2], of_shift[2];
    if (sp_enter(self))
        return NULL;
    if (has_path(self)) {
        correction_shapes(self, of_gain, of_shift);
        if ((gain = sp_new(NPY_FLOAT32, 2, of_gain)) && (shift = sp_new(NPY_FLOAT32, 2, of_shift))) {
            sp_trainer_get_corrections(self->trainer, PyArray_DATA(gain), PyArray_DATA(shift));
            result = PyTuple_Pack(2, gain, shift);
        }
    }
    sp_leave(self);
    DROP(gain);
    DROP(shift);
    return result;
}
