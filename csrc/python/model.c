/* _core.Model: forward and backward of one layout. */
#include "glue.h"

typedef struct {
    PyObject_HEAD
    sp_model *model;
    atomic_flag busy;
} ModelObject;

static PyObject *model_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"widths", "activation", NULL};
    PyObject *widths;
    const char *activation;
    sp_layout layout;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "Os:Model", names, &widths, &activation) ||
        sp_read_layout(widths, activation, &layout))
        return NULL;
    ModelObject *self = (ModelObject *)PyType_GenericAlloc(type, 0);
    if (!self)
        return NULL;
    atomic_flag_clear(&self->busy);
    self->model = sp_model_new(&layout);
    if (!self->model) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    return (PyObject *)self;
}

static void model_dealloc(ModelObject *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    sp_model_free(self->model);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyObject *model_forward(ModelObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"params", "x", "gates", "keep", "out", NULL};
    PyObject *params_obj, *x_obj, *gates_obj = Py_None, *out_obj = Py_None;
    PyArrayObject *params = NULL, *x = NULL, *gates = NULL, *z = NULL;
    int keep = 0;
    sp_status status = SP_OK;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|OpO:forward", names, &params_obj, &x_obj, &gates_obj, &keep,
                                     &out_obj))
        return NULL;
    const sp_layout *layout = sp_model_layout(self->model);
    if (!(params = sp_in_vector(params_obj, "params", NPY_FLOAT32, layout->n_params)) ||
        !(x = sp_in(x_obj, "x", NPY_FLOAT32, 2, (npy_intp[]){-1, layout->width[0]})) ||
        (gates_obj != Py_None && !(gates = sp_in_vector(gates_obj, "gates", NPY_FLOAT32, layout->n_gates))))
        goto end;
    const npy_intp shape[2] = {PyArray_DIM(x, 0), layout->width[layout->n_layers]};
    z = out_obj == Py_None ? sp_new(NPY_FLOAT32, 2, shape) : sp_inout(out_obj, "out", NPY_FLOAT32, 2, shape);
    if (!z)
        goto end;
    const bool busy = atomic_flag_test_and_set(&self->busy); /* another thread is inside: a model of our own */
    if (busy && keep) {
        PyErr_SetString(PyExc_RuntimeError, "this network is in use by another thread");
        CLEAR(z);
        goto end;
    }
    sp_model *model = busy ? sp_model_new(layout) : self->model;
    status = model ? SP_OK : SP_NO_MEMORY;
    const npy_intp slice = keep ? shape[0] : (npy_intp)(SP_SLICE / (double)layout->n_params) + 1;
    bool stopped = false;
    npy_intp first = 0;
    while (!status && !stopped) {
        const npy_intp rows = shape[0] - first < slice ? shape[0] - first : slice;
        Py_BEGIN_ALLOW_THREADS
        status = sp_forward(model, PyArray_DATA(params), DATA(float, gates), DATA(float, x) + first * layout->width[0],
                            rows, keep, DATA(float, z) + first * shape[1]);
        Py_END_ALLOW_THREADS
        first += rows;
        if (first == shape[0])
            break;
        stopped = PyErr_CheckSignals() < 0;
    }
    if (busy)
        sp_model_free(model);
    else
        atomic_flag_clear(&self->busy);
    if (stopped || sp_raise(status))
        CLEAR(z);
end:
    DROP(params);
    DROP(x);
    DROP(gates);
    return (PyObject *)z;
}

static PyObject *model_backward(ModelObject *self, PyObject *dz_obj)
{
    const sp_layout *layout = sp_model_layout(self->model);
    const npy_intp n_params = layout->n_params, n_gates = layout->n_gates;
    PyArrayObject *dz = sp_in(dz_obj, "dz", NPY_FLOAT32, 2, (npy_intp[]){-1, layout->width[layout->n_layers]});
    PyArrayObject *dparams = sp_new(NPY_FLOAT32, 1, &n_params), *dgates = sp_new(NPY_FLOAT32, 1, &n_gates);
    PyObject *result = NULL;
    if (!dz || !dparams || !dgates)
        goto end;
    if (atomic_flag_test_and_set(&self->busy)) {
        PyErr_SetString(PyExc_RuntimeError, "this network is in use by another thread");
        goto end;
    }
    /* Rows are counted only now: converting dz may have run a forward pass, here or in another thread. */
    const npy_intp rows = sp_model_rows(self->model);
    sp_status status = SP_OK;
    if (rows > 0 && PyArray_DIM(dz, 0) != rows)
        PyErr_Format(PyExc_ValueError, "dz has length %zd along axis 0; it needs %zd", (Py_ssize_t)PyArray_DIM(dz, 0),
                     (Py_ssize_t)rows);
    else {
        Py_BEGIN_ALLOW_THREADS
        status = sp_backward(self->model, PyArray_DATA(dz), PyArray_DATA(dparams), PyArray_DATA(dgates));
        Py_END_ALLOW_THREADS
    }
    atomic_flag_clear(&self->busy);
    if (!PyErr_Occurred() && !sp_raise(status))
        result = PyTuple_Pack(2, (PyObject *)dparams, (PyObject *)dgates);
end:
    DROP(dz);
    DROP(dparams);
    DROP(dgates);
    return result;
}

static PyMethodDef methods[] = {
    {"forward", (PyCFunction)(void (*)(void))model_forward, METH_VARARGS | METH_KEYWORDS, NULL},
    {"backward", (PyCFunction)model_backward, METH_O, NULL},
    {0},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "Forward and backward of one layout, with the memory they need."},
    {Py_tp_new, model_new},
    {Py_tp_dealloc, model_dealloc},
    {Py_tp_methods, methods},
    {0, NULL},
};

PyType_Spec sp_model_spec = {
    .name = "shadowprune._core.Model",
    .basicsize = sizeof(ModelObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};
