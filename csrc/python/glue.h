/* The glue between Python and the core: convert, release the GIL, compute, take it back. It knows no mathematics. */
#ifndef SP_GLUE_H
#define SP_GLUE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#ifndef SP_MODULE
#define NO_IMPORT_ARRAY
#endif
#define PY_ARRAY_UNIQUE_SYMBOL shadowprune_numpy
#include <numpy/arrayobject.h>

#include <stdatomic.h>

#include "shadowprune.h"

/* --- arrays.c ---------------------------------------------------------------------------------------------------- */

/* obj as a C-ordered, aligned, native array of that type and shape (-1: any length); a new reference, obj itself where
   it fits already. NULL and an error naming the argument otherwise. */
PyArrayObject *sp_in(PyObject *obj, const char *name, int type, int ndim, const npy_intp *shape);
PyArrayObject *sp_in_vector(PyObject *obj, const char *name, int type, npy_intp length);

/* obj must be such an array already, and writeable, for it is changed in place; a new reference. */
PyArrayObject *sp_inout(PyObject *obj, const char *name, int type, int ndim, const npy_intp *shape);
PyArrayObject *sp_inout_vector(PyObject *obj, const char *name, int type, npy_intp length);

/* Every entry of a float32 or float64 array finite and at least low, or false and an error naming the array. */
bool sp_at_least(PyArrayObject *array, const char *name, double low);

PyArrayObject *sp_new(int type, int ndim, const npy_intp *shape);

/* A cost of n gates, read from None (the node count), a vector of linear costs, or a tuple (linear or None, layer,
   fixed, pair). sp_drop_cost gives back what it refers to, after a failure too. */
typedef struct {
    sp_cost cost;
    bool given;
    PyArrayObject *held[4];
} sp_cost_in;

bool sp_read_cost(PyObject *obj, npy_intp n, sp_cost_in *in);
void sp_drop_cost(sp_cost_in *in);

/* The stable ABI takes objects only as PyObject *. */
#define DROP(array) Py_XDECREF((PyObject *)(array))
#define CLEAR(array) \
    do { \
        DROP(array); \
        (array) = NULL; \
    } while (0)
#define KEYWORDS(function) (PyCFunction)(void (*)(void)) function, METH_VARARGS | METH_KEYWORDS, NULL
#define DATA(type, array) ((array) ? (type *)PyArray_DATA(array) : NULL)

/* Rows times parameters in about a tenth of a second: between two looks for Ctrl-C. */
#define SP_SLICE 1e9

/* --- arguments.c ------------------------------------------------------------------------------------------------- */

/* SP_OK: 0; else raises and returns -1. */
int sp_raise(sp_status status);
/* Reads widths and the name of an activation into a layout; -1 and an error otherwise. activation NULL: any. */
int sp_read_layout(PyObject *widths, const char *activation, sp_layout *layout);
int sp_read_activation(const char *name, sp_activation *activation);
int sp_read_loss(const char *name, sp_loss *loss);
int sp_read_family(const char *name, sp_family *family);
int sp_read_method(const char *name, sp_method *method);
/* value must be finite and at least (above, if open) low, or -1 and an error naming it. */
int sp_check(const char *name, double value, double low, bool open);
/* 0 <= value < 1, or -1 and an error naming it. */
int sp_check_share(const char *name, double value);

/* --- fixed.c: a tuple (width, integer, signed, saturates, rounding), or -1 and an error. -------------------------- */

int sp_read_type(PyObject *obj, sp_fixed *type);

/* --- methods.c --------------------------------------------------------------------------------------------------- */

extern PyMethodDef sp_methods[];

/* --- model.c, predictor.c, trainer.c, fixed.c: one heap type each ------------------------------------------------------------- */

extern PyType_Spec sp_model_spec, sp_predictor_spec, sp_trainer_spec, sp_fixed_type_spec;
PyObject *sp_py_fixed_cast(PyObject *module, PyObject *args); /* functions of the module */
PyObject *sp_py_fixed_table(PyObject *module, PyObject *args);

#endif
