/* _core.Fixed: a network in integers; _core.fixed_cast, _core.fixed_table. */
#include "glue.h"

#include <math.h>
#include <string.h>

typedef struct {
    PyObject_HEAD
    sp_fixed_net *net;
} FixedObject;

int sp_read_type(PyObject *obj, sp_fixed *type)
{
    const char *rounding;
    int is_signed, saturates;
    if (!PyTuple_Check(obj)) {
        PyErr_SetString(PyExc_TypeError, "a type must be a tuple (width, integer, signed, saturates, rounding)");
        return -1;
    }
    if (!PyArg_ParseTuple(obj, "iipps:type", &type->width, &type->integer, &is_signed, &saturates, &rounding))
        return -1;
    type->is_signed = is_signed;
    type->saturates = saturates;
    static const char *const names[] = {[SP_TRN] = "TRN", [SP_RND] = "RND", [SP_RND_CONV] = "RND_CONV"};
    for (int i = 0; i < 3; i++)
        if (strcmp(rounding, names[i]) == 0) {
            type->rounding = (sp_rounding)i;
            return 0;
        }
    PyErr_Format(PyExc_ValueError, "rounding is '%s'; it must be TRN, RND or RND_CONV", rounding);
    return -1;
}

PyObject *sp_py_fixed_cast(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *type_obj, *x_obj;
    sp_fixed type;
    if (!PyArg_ParseTuple(args, "OO:fixed_cast", &type_obj, &x_obj) || sp_read_type(type_obj, &type))
        return NULL;
    PyArrayObject *any = (PyArrayObject *)PyArray_FROM_O(x_obj), *x = NULL, *v = NULL;
    npy_intp free_shape[NPY_MAXDIMS];
    for (int i = 0; i < NPY_MAXDIMS; i++)
        free_shape[i] = -1;
    if (any && (x = sp_in((PyObject *)any, "x", NPY_FLOAT64, PyArray_NDIM(any), free_shape)) &&
        sp_at_least(x, "x", -INFINITY) && (v = sp_new(NPY_INT64, PyArray_NDIM(x), PyArray_DIMS(x))) &&
        sp_raise(sp_fixed_cast(&type, PyArray_SIZE(x), PyArray_DATA(x), PyArray_DATA(v))))
        CLEAR(v);
    DROP(any);
    DROP(x);
    return (PyObject *)v;
}

PyObject *sp_py_fixed_table(PyObject *module, PyObject *args)
{
    (void)module;
    const char *name;
    int n;
    sp_activation activation;
    if (!PyArg_ParseTuple(args, "si:fixed_table", &name, &n) || sp_read_activation(name, &activation) ||
        sp_check("n", n, 1, false))
        return NULL;
    const npy_intp shape = n;
    PyArrayObject *table = sp_new(NPY_FLOAT32, 1, &shape);
    if (table)
        sp_fixed_table(activation, n, PyArray_DATA(table));
    return (PyObject *)table;
}

/* The arrays that spec points into go to held. */
static int read_layer(PyObject *item, sp_fixed_layer *to, PyArrayObject **held, npy_intp *n_in)
{
    PyObject *weight, *bias, *accum, *result, *output, *table;
    const char *activation;
    long long slope;
    if (!PyTuple_Check(item)) {
        PyErr_SetString(PyExc_TypeError, "a layer must be a tuple");
        return -1;
    }
    if (!PyArg_ParseTuple(item, "OOiiOOOsLiO:layer", &weight, &bias, &to->weight_fraction, &to->bias_fraction, &accum,
                          &result, &output, &activation, &slope, &to->slope_fraction, &table) ||
        sp_read_type(accum, &to->accum) || sp_read_type(result, &to->result) || sp_read_type(output, &to->output) ||
        sp_read_activation(activation, &to->activation) ||
        !(held[0] = sp_in(weight, "weights", NPY_INT64, 2, (npy_intp[]){*n_in, -1})) ||
        !(held[1] = sp_in_vector(bias, "bias", NPY_INT64, PyArray_DIM(held[0], 1))) ||
        (table != Py_None && !(held[2] = sp_in_vector(table, "table", NPY_INT64, -1))))
        return -1;
    const npy_intp shape[2] = {PyArray_DIM(held[0], 0), PyArray_DIM(held[0], 1)};
    const npy_intp entries = held[2] ? PyArray_DIM(held[2], 0) : 0;
    if (shape[0] < 1 || shape[1] < 1 || shape[0] > SP_MAX_WIDTH || shape[1] > SP_MAX_WIDTH)
        return sp_raise(SP_BAD_SHAPE);
    if ((to->activation == SP_TANH || to->activation == SP_SIGMOID) &&
        (entries < 2 || entries > 1 << 24 || (entries & (entries - 1)))) {
        PyErr_Format(PyExc_ValueError, "table has %zd entries; it must be a power of two from 2", (Py_ssize_t)entries);
        return -1;
    }
    *n_in = shape[1];
    to->n_in = (int)shape[0];
    to->n_out = (int)shape[1];
    to->weight = PyArray_DATA(held[0]);
    to->bias = PyArray_DATA(held[1]);
    to->slope = slope;
    to->table = DATA(int64_t, held[2]);
    to->n_table = (int)entries;
    return 0;
}

static int raise_at(sp_status status, int where)
{
    if (status != SP_BAD_TYPE && status != SP_TOO_WIDE)
        return sp_raise(status);
    if (where)
        PyErr_Format(PyExc_ValueError, "dense layer %d: %s", where, sp_message(status));
    else
        PyErr_Format(PyExc_ValueError, "inputs: %s", sp_message(status));
    return -1;
}

static PyObject *fixed_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"input", "offset", "shift", "aligned", "layers", NULL};
    PyObject *input, *offset_obj, *shift_obj, *aligned, *layers_obj;
    sp_fixed_spec spec = {0};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOOO:Fixed", names, &input, &offset_obj, &shift_obj, &aligned,
                                     &layers_obj) ||
        sp_read_type(input, &spec.input))
        return NULL;
    const Py_ssize_t n_layers = PySequence_Size(layers_obj);
    if (n_layers < 0 || (n_layers < 1 || n_layers > SP_MAX_LAYERS ? sp_raise(SP_BAD_SHAPE) : 0))
        return NULL;
    sp_fixed_layer *layers = PyMem_Calloc((size_t)n_layers, sizeof *layers);
    PyArrayObject **held = PyMem_Calloc(3 * (size_t)n_layers, sizeof *held), *offset = NULL, *shift = NULL;
    FixedObject *self = NULL;
    npy_intp n_in = -1;
    if (!layers || !held) {
        PyErr_NoMemory();
        goto end;
    }
    for (Py_ssize_t i = 0; i < n_layers; i++) {
        PyObject *item = PySequence_GetItem(layers_obj, i);
        const int failed = !item || read_layer(item, &layers[i], held + 3 * i, &n_in);
        Py_XDECREF(item);
        if (failed)
            goto end;
    }
    if (shift_obj != Py_None) {
        if (sp_read_type(aligned, &spec.aligned) ||
            !(offset = sp_in_vector(offset_obj, "offset", NPY_INT64, layers[0].n_in)) ||
            !(shift = sp_in_vector(shift_obj, "shift", NPY_INT32, layers[0].n_in)))
            goto end;
        spec.offset = PyArray_DATA(offset);
        spec.shift = PyArray_DATA(shift);
    }
    spec.n_layers = (int)n_layers;
    spec.layers = layers;
    int where;
    if ((self = (FixedObject *)PyType_GenericAlloc(type, 0))) {
        const sp_status status = sp_fixed_new(&spec, &self->net, &where);
        if (status) {
            raise_at(status, where);
            Py_CLEAR(self);
        }
    }
end:
    for (Py_ssize_t i = 0; held && i < 3 * n_layers; i++)
        DROP(held[i]);
    PyMem_Free(held);
    PyMem_Free(layers);
    DROP(offset);
    DROP(shift);
    return (PyObject *)self;
}

static void fixed_dealloc(FixedObject *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    sp_fixed_free(self->net);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyObject *fixed_forward(FixedObject *self, PyObject *x_obj)
{
    enum { SLICE = 1 << 14 }; /* rows between two looks for Ctrl-C */
    const npy_intp n_in = sp_fixed_inputs(self->net), n_out = sp_fixed_outputs(self->net);
    PyArrayObject *x = sp_in(x_obj, "X", NPY_FLOAT64, 2, (npy_intp[]){-1, n_in}), *z = NULL;
    int64_t *work = NULL;
    if (!x || !sp_at_least(x, "X", -INFINITY))
        goto end;
    const npy_intp rows = PyArray_DIM(x, 0), shape[2] = {rows, n_out};
    z = sp_new(NPY_FLOAT64, 2, shape);
    work = PyMem_Malloc((size_t)sp_fixed_work(self->net) * sizeof *work);
    if (z && !work) {
        PyErr_NoMemory();
        CLEAR(z);
    }
    for (npy_intp first = 0; z && first < rows; first += SLICE) {
        const npy_intp n = rows - first < SLICE ? rows - first : SLICE;
        Py_BEGIN_ALLOW_THREADS
        sp_fixed_forward(self->net, DATA(double, x) + first * n_in, n, work, DATA(double, z) + first * n_out);
        Py_END_ALLOW_THREADS
        if (first + n < rows && PyErr_CheckSignals() < 0)
            CLEAR(z);
    }
end:
    PyMem_Free(work);
    DROP(x);
    return (PyObject *)z;
}

static PyMethodDef methods[] = {
    {"forward", (PyCFunction)fixed_forward, METH_O, NULL},
    {0},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "A network in integers."},
    {Py_tp_new, fixed_new},
    {Py_tp_dealloc, fixed_dealloc},
    {Py_tp_methods, methods},
    {0, NULL},
};

PyType_Spec sp_fixed_type_spec = {
    .name = "shadowprune._core.Fixed",
    .basicsize = sizeof(FixedObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};
