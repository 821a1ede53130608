/* What the core asks of numbers and names, and its complaints, in Python's terms. */
#include "glue.h"

#include <math.h>
#include <string.h>

int sp_raise(sp_status status)
{
    if (status == SP_OK)
        return 0;
    PyObject *type = PyExc_ValueError;
    if (status == SP_NO_MEMORY)
        type = PyExc_MemoryError;
    if (status == SP_NO_THREADS || status == SP_NOT_CONVERGED)
        type = PyExc_RuntimeError;
    PyErr_SetString(type, sp_message(status));
    return -1;
}

int sp_check(const char *name, double value, double low, bool open)
{
    if (isfinite(value) && (open ? value > low : value >= low))
        return 0;
    PyObject *seen = PyFloat_FromDouble(value), *limit = PyFloat_FromDouble(low);
    if (seen && limit)
        PyErr_Format(PyExc_ValueError, "%s is %R; it must be finite and %s %R", name, seen, open ? "above" : "at least",
                     limit);
    Py_XDECREF(seen);
    Py_XDECREF(limit);
    return -1;
}

int sp_check_share(const char *name, double value)
{
    if (value >= 0 && value < 1)
        return 0;
    PyObject *seen = PyFloat_FromDouble(value);
    if (seen)
        PyErr_Format(PyExc_ValueError, "%s is %R; it must be at least 0 and below 1", name, seen);
    Py_XDECREF(seen);
    return -1;
}

static int lookup(const char *what, const char *name, const char *const *names)
{
    for (int i = 0; names[i]; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    PyObject *list = PyList_New(0);
    for (int i = 0; list && names[i]; i++) {
        PyObject *item = PyUnicode_FromString(names[i]);
        if (!item || PyList_Append(list, item))
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    if (list)
        PyErr_Format(PyExc_ValueError, "%s is '%s'; it must be one of %R", what, name, list);
    Py_XDECREF(list);
    return -1;
}

int sp_read_activation(const char *name, sp_activation *activation)
{
    static const char *const names[] = {"linear", "relu", "leaky_relu", "tanh", "sigmoid", NULL};
    const int kind = lookup("activation", name, names);
    *activation = (sp_activation)kind;
    return kind < 0 ? -1 : 0;
}

int sp_read_layout(PyObject *widths, const char *activation, sp_layout *layout)
{
    sp_activation kind = SP_LINEAR;
    if (activation && sp_read_activation(activation, &kind))
        return -1;
    PyArrayObject *array = sp_in_vector(widths, "widths", NPY_INT32, -1);
    if (!array)
        return -1;
    const npy_intp n = PyArray_DIM(array, 0);
    const sp_status status =
        n > SP_MAX_LAYERS + 1 ? SP_BAD_SHAPE : sp_layout_init(layout, (int)n - 1, PyArray_DATA(array), kind);
    DROP(array);
    return sp_raise(status);
}

int sp_read_loss(const char *name, sp_loss *loss)
{
    static const char *const names[] = {"binary_crossentropy", "categorical_crossentropy", "squared_error", NULL};
    const int kind = lookup("loss", name, names);
    *loss = (sp_loss)kind;
    return kind < 0 ? -1 : 0;
}

int sp_read_family(const char *name, sp_family *family)
{
    static const char *const names[] = {"logistic", "laplace", NULL};
    const int kind = lookup("family", name, names);
    *family = (sp_family)kind;
    return kind < 0 ? -1 : 0;
}

int sp_read_method(const char *name, sp_method *method)
{
    static const char *const names[] = {"shadow", "straight-through", "taylor", NULL};
    const int kind = lookup("method", name, names);
    *method = (sp_method)kind;
    return kind < 0 ? -1 : 0;
}
