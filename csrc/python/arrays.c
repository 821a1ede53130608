/* Every check of type, shape and order of an array stands here. */
#include "glue.h"

#include <math.h>

static const char *type_name(int type)
{
    switch (type) {
    case NPY_FLOAT32: return "float32";
    case NPY_FLOAT64: return "float64";
    case NPY_INT32: return "int32";
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
    const bool exact =
        type == NPY_FLOAT32 || type == NPY_FLOAT64 || have == type || (type == NPY_INT32 && PyTypeNum_ISINTEGER(have));
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
