/* Every check of type, shape and order of an array stands here. */
#include "glue.h"

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

PyArrayObject *sp_in(PyObject *obj, const char *name, int type, int ndim, const npy_intp *shape)
{
    PyArrayObject *any = (PyArrayObject *)PyArray_FROM_O(obj);
    if (!any)
        return NULL;
    const int have = PyArray_TYPE(any);
    const bool real = PyTypeNum_ISBOOL(have) || PyTypeNum_ISINTEGER(have) || PyTypeNum_ISFLOAT(have);
    const bool exact = type == NPY_FLOAT32 || type == NPY_FLOAT64 || have == type ||
                       (type == NPY_INT32 && PyTypeNum_ISINTEGER(have));
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
    PyArrayObject *array = (PyArrayObject *)PyArray_FROM_OTF((PyObject *)any, type,
                                                             NPY_ARRAY_IN_ARRAY | NPY_ARRAY_FORCECAST);
    DROP(any);
    return array;
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
