/* _core.Predictor: a frozen network, rows in, logits out. */
#include "glue.h"

#include <time.h>

typedef struct {
    PyObject_HEAD
    sp_predictor *predictor;
} PredictorObject;

static PyObject *predictor_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"widths", "activation", "params", NULL};
    PyObject *widths, *params_obj;
    const char *activation;
    sp_layout layout;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OsO:Predictor", names, &widths, &activation, &params_obj) ||
        sp_read_layout(widths, activation, &layout))
        return NULL;
    PyArrayObject *params = sp_in_vector(params_obj, "params", NPY_FLOAT32, layout.n_params);
    PredictorObject *self = params ? (PredictorObject *)PyType_GenericAlloc(type, 0) : NULL;
    if (self && !(self->predictor = sp_predictor_new(&layout, PyArray_DATA(params)))) {
        Py_DECREF(self);
        self = NULL;
        PyErr_NoMemory();
    }
    DROP(params);
    return (PyObject *)self;
}

static void predictor_dealloc(PredictorObject *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    sp_predictor_free(self->predictor);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyArrayObject *rows_of(PredictorObject *self, PyObject *x)
{
    const int n_in = sp_predictor_layout(self->predictor)->width[0];
    return sp_in(x, "x", NPY_FLOAT32, 2, (npy_intp[]){-1, n_in});
}

static PyObject *call(PredictorObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"x", "out", NULL};
    PyObject *x_obj, *out_obj = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:Predictor", names, &x_obj, &out_obj))
        return NULL;
    const sp_layout *layout = sp_predictor_layout(self->predictor);
    PyArrayObject *x = rows_of(self, x_obj), *z = NULL;
    if (!x)
        return NULL;
    const npy_intp shape[2] = {PyArray_DIM(x, 0), layout->width[layout->n_layers]};
    z = out_obj == Py_None ? sp_new(NPY_FLOAT32, 2, shape) : sp_inout(out_obj, "out", NPY_FLOAT32, 2, shape);
    const char *in = PyArray_DATA(x), *to_out = z ? PyArray_DATA(z) : NULL;
    if (z && in != to_out && in < to_out + PyArray_NBYTES(z) && to_out < in + PyArray_NBYTES(x)) {
        PyErr_SetString(PyExc_ValueError, "out overlaps x; it must be x itself or share no memory with it");
        CLEAR(z);
    }
    const npy_intp slice = (npy_intp)(SP_SLICE / (double)layout->n_params) + 1;
    sp_status status = SP_OK;
    for (npy_intp first = 0; z && first < shape[0]; first += slice) {
        const npy_intp rows = shape[0] - first < slice ? shape[0] - first : slice;
        const float *from = DATA(float, x) + first * layout->width[0];
        float *to = DATA(float, z) + first * shape[1];
        if (rows * layout->n_params < 1000000) /* shorter than handing the GIL over */
            status = sp_predict(self->predictor, from, rows, to);
        else {
            Py_BEGIN_ALLOW_THREADS
            status = sp_predict(self->predictor, from, rows, to);
            Py_END_ALLOW_THREADS
        }
        if (sp_raise(status) || (first + rows < shape[0] && PyErr_CheckSignals() < 0))
            CLEAR(z);
    }
    DROP(x);
    return (PyObject *)z;
}

static PyObject *latency(PredictorObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"x", "repeats", NULL};
    PyObject *x_obj;
    long long repeats = 1000;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|L:latency", names, &x_obj, &repeats) ||
        sp_check("repeats", (double)repeats, 1, false))
        return NULL;
    const sp_layout *layout = sp_predictor_layout(self->predictor);
    PyArrayObject *x = rows_of(self, x_obj), *z = NULL;
    PyObject *result = NULL;
    if (!x)
        return NULL;
    const npy_intp shape[2] = {PyArray_DIM(x, 0), layout->width[layout->n_layers]};
    if ((z = sp_new(NPY_FLOAT32, 2, shape))) {
        const long long few = (long long)(SP_SLICE / ((double)(shape[0] + 1) * (double)layout->n_params)) + 1;
        double seconds = 0;
        bool stopped = false;
        for (long long left = repeats; left > 0 && !stopped; left -= few) {
            struct timespec begin, end;
            sp_status status = SP_OK;
            Py_BEGIN_ALLOW_THREADS
            clock_gettime(CLOCK_MONOTONIC, &begin);
            for (long long i = 0; i < (left < few ? left : few) && !status; i++)
                status = sp_predict(self->predictor, PyArray_DATA(x), shape[0], PyArray_DATA(z));
            clock_gettime(CLOCK_MONOTONIC, &end);
            Py_END_ALLOW_THREADS
            seconds += (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec);
            stopped = sp_raise(status) || PyErr_CheckSignals() < 0;
        }
        if (!stopped)
            result = PyFloat_FromDouble(seconds / (double)repeats);
    }
    DROP(x);
    DROP(z);
    return result;
}

static PyMethodDef methods[] = {
    {"latency", (PyCFunction)(void (*)(void))latency, METH_VARARGS | METH_KEYWORDS,
     "latency($self, x, repeats=1000)\n--\n\nSeconds the core needs for these rows, the mean of some repeats: without "
     "the call from Python."},
    {0},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "Predictor(widths, activation, params)\n--\n\nA frozen network: predictor(x, out=None) gives the "
                "logits of the rows of x. Any number of threads may call it at once."},
    {Py_tp_new, predictor_new},
    {Py_tp_dealloc, predictor_dealloc},
    {Py_tp_call, call},
    {Py_tp_methods, methods},
    {0, NULL},
};

PyType_Spec sp_predictor_spec = {
    .name = "shadowprune._core.Predictor",
    .basicsize = sizeof(PredictorObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};
