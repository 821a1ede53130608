/* Every check of type, shape and order of an array stands here. */
#include "glue.h"

#include <math.h>

static const char *type_name(int type)
{
    switch (type) {
    case NPY_FLOAT32: return "float32";
    case NPY_FLOAT64: return "float64";
    case NPY_INT32: return "int32";
    case NPY_INT64: return "int64";
    case NPY_BOOL: return "bool";
    }
    return "?";
}

static int check_shape(PyArrayObject *array, const char *name, int ndim, const npy_intp *shape)
{
    if (PyArray_NDIM(array) != ndim) {
        PyErr_Format(PyExc_ValueError, "%s has %d dimensions; it needs %d", name, PyArray_NDIM(array), ndim);
        return -1;
    }
    for (int i = 0; i < ndim; i++)
        if (shape[i] >= 0 && PyArray_DIM(array, i) != shape[i]) {
            PyErr_Format(PyExc_ValueError, "%s has length %zd along axis %d; it needs %zd", name,
                         (Py_ssize_t)PyArray_DIM(array, i), i, (Py_ssize_t)shape[i]);
            return -1;
        }
    return 0;
}

/* Integers of another type as int32, none of them wrapped round. */
static PyArrayObject *to_int32(PyArrayObject *any, const char *name)
{
    PyArrayObject *wide = (PyArrayObject *)PyArray_FROM_OTF((PyObject *)any, NPY_INT64, NPY_ARRAY_IN_ARRAY);
    if (!wide)
        return NULL;
    const npy_int64 *value = PyArray_DATA(wide);
    for (npy_intp i = 0; i < PyArray_SIZE(wide); i++)
        if (value[i] < INT32_MIN || value[i] > INT32_MAX) {
            PyErr_Format(PyExc_ValueError, "%s holds %lld, which is no int32", name, (long long)value[i]);
            DROP(wide);
            return NULL;
        }
    PyArrayObject *array =
        (PyArrayObject *)PyArray_FROM_OTF((PyObject *)wide, NPY_INT32, NPY_ARRAY_IN_ARRAY | NPY_ARRAY_FORCECAST);
    DROP(wide);
    return array;
}

PyArrayObject *sp_in(PyObject *obj, const char *name, int type, int ndim, const npy_intp *shape)
{
    PyArrayObject *any = (PyArrayObject *)PyArray_FROM_O(obj);
    if (!any)
        return NULL;
    const int have = PyArray_TYPE(any);
    const bool real = PyTypeNum_ISBOOL(have) || PyTypeNum_ISINTEGER(have) || PyTypeNum_ISFLOAT(have);
    const bool exact = type == NPY_FLOAT32 || type == NPY_FLOAT64 || have == type ||
                       ((type == NPY_INT32 || type == NPY_INT64) && PyTypeNum_ISINTEGER(have));
    if (!real || !exact) {
        PyErr_Format(PyExc_TypeError, "%s must be an array of %s; it holds %R", name, type_name(type),
                     (PyObject *)PyArray_DESCR(any));
        DROP(any);
        return NULL;
    }
    if (check_shape(any, name, ndim, shape)) {
        DROP(any);
        return NULL;
    }
    PyArrayObject *array =
        type == NPY_INT32 && have != type
            ? to_int32(any, name)
            : (PyArrayObject *)PyArray_FROM_OTF((PyObject *)any, type, NPY_ARRAY_IN_ARRAY | NPY_ARRAY_FORCECAST);
    DROP(any);
    return array;
}

bool sp_at_least(PyArrayObject *array, const char *name, double low)
{
    const bool wide = PyArray_TYPE(array) == NPY_FLOAT64;
    for (npy_intp i = 0; i < PyArray_SIZE(array); i++) {
        const double value = wide ? DATA(double, array)[i] : DATA(float, array)[i];
        if (!isfinite(value) || value < low) {
            PyObject *seen = PyFloat_FromDouble(value), *limit = PyFloat_FromDouble(low);
            if (seen && limit)
                PyErr_Format(PyExc_ValueError,
                             isfinite(low) ? "%s holds %R; it must be finite and at least %R"
                                           : "%s holds %R; it must be finite",
                             name, seen, limit);
            Py_XDECREF(seen);
            Py_XDECREF(limit);
            return false;
        }
    }
    return true;
}

PyArrayObject *sp_in_vector(PyObject *obj, const char *name, int type, npy_intp length)
{
    return sp_in(obj, name, type, 1, &length);
}

PyArrayObject *sp_inout(PyObject *obj, const char *name, int type, int ndim, const npy_intp *shape)
{
    PyArrayObject *array = (PyArrayObject *)obj;
    if (!PyArray_Check(obj) || PyArray_TYPE(array) != type || !PyArray_ISCARRAY(array) ||
        !PyArray_ISNOTSWAPPED(array)) {
        PyErr_Format(PyExc_TypeError, "%s is changed in place: it must be a writeable, C-ordered array of %s", name,
                     type_name(type));
        return NULL;
    }
    if (check_shape(array, name, ndim, shape))
        return NULL;
    Py_INCREF(obj);
    return array;
}

PyArrayObject *sp_inout_vector(PyObject *obj, const char *name, int type, npy_intp length)
{
    return sp_inout(obj, name, type, 1, &length);
}

PyArrayObject *sp_new(int type, int ndim, const npy_intp *shape)
{
    return (PyArrayObject *)PyArray_SimpleNew(ndim, (npy_intp *)shape, type);
}

bool sp_read_cost(PyObject *obj, npy_intp n, sp_cost_in *in)
{
    *in = (sp_cost_in){.given = obj != Py_None};
    PyArrayObject **h = in->held;
    PyObject *linear = obj, *layer, *fixed, *pair;
    if (!in->given)
        return true;
    const bool pairs = PyTuple_Check(obj);
    if (pairs && PyTuple_Size(obj) != 4) {
        PyErr_SetString(PyExc_TypeError, "cost must be None, a vector or a tuple (linear or None, layer, fixed, pair)");
        return false;
    }
    if (pairs && !PyArg_ParseTuple(obj, "OOOO:cost", &linear, &layer, &fixed, &pair))
        return false;
    if (linear != Py_None && (!(h[0] = sp_in_vector(linear, "cost", NPY_FLOAT64, n)) || !sp_at_least(h[0], "cost", 0)))
        return false;
    in->cost.linear = DATA(double, h[0]);
    if (!pairs)
        return true;
    if (!(h[1] = sp_in_vector(layer, "layer of cost", NPY_INT32, n)) ||
        !(h[2] = sp_in_vector(fixed, "fixed of cost", NPY_FLOAT64, -1)) || !sp_at_least(h[2], "fixed of cost", 0))
        return false;
    const npy_intp n_layers = PyArray_DIM(h[2], 0);
    if (n_layers < 2 || n_layers > SP_MAX_LAYERS + 1) {
        PyErr_Format(PyExc_ValueError, "fixed of cost has %zd layers; it needs 2 to %d", (Py_ssize_t)n_layers,
                     SP_MAX_LAYERS + 1);
        return false;
    }
    if (!(h[3] = sp_in_vector(pair, "pair of cost", NPY_FLOAT64, n_layers - 1)) ||
        !sp_at_least(h[3], "pair of cost", 0))
        return false;
    in->cost.n_layers = (int)n_layers;
    in->cost.layer = PyArray_DATA(h[1]);
    in->cost.fixed = PyArray_DATA(h[2]);
    in->cost.pair = PyArray_DATA(h[3]);
    for (npy_intp i = 0; i < n; i++)
        if (in->cost.layer[i] < 0 || in->cost.layer[i] >= n_layers) {
            PyErr_Format(PyExc_ValueError, "layer of cost holds %d; it must be from 0 to %zd", in->cost.layer[i],
                         (Py_ssize_t)n_layers - 1);
            return false;
        }
    return true;
}

void sp_drop_cost(sp_cost_in *in)
{
    for (int i = 0; i < 4; i++)
        CLEAR(in->held[i]);
}
