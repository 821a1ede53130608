/* Thin wrappers of the core's functions. */
#include "glue.h"

#include <math.h>

static PyObject *isa(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    return PyUnicode_FromString(sp_isa());
}

static PyObject *isas(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    Py_ssize_t n = 0;
    while (sp_isa_available((int)n))
        n++;
    PyObject *tuple = PyTuple_New(n);
    for (Py_ssize_t i = 0; tuple && i < n; i++) {
        PyObject *name = PyUnicode_FromString(sp_isa_available((int)i));
        if (!name || PyTuple_SetItem(tuple, i, name))
            Py_CLEAR(tuple);
    }
    return tuple;
}

static PyObject *n_params(PyObject *module, PyObject *widths)
{
    (void)module;
    sp_layout layout;
    return sp_read_layout(widths, NULL, &layout) ? NULL : PyLong_FromLongLong(layout.n_params);
}

static PyObject *gates(PyObject *module, PyObject *args, PyObject *kwargs)
{
    (void)module;
    static char *names[] = {"scores", "budget", "temperature", "family", "cost", "theta", NULL};
    PyObject *scores_obj, *cost_obj = Py_None, *result = NULL;
    double budget, temperature, theta = 0;
    const char *family_name = "logistic";
    sp_family family;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "Odd|sOd:gates", names, &scores_obj, &budget, &temperature,
                                     &family_name, &cost_obj, &theta) ||
        sp_read_family(family_name, &family) || sp_check("temperature", temperature, 0, true) ||
        sp_check("budget", budget, 0, true))
        return NULL;
    PyArrayObject *scores = sp_in_vector(scores_obj, "scores", NPY_FLOAT64, -1), *g = NULL;
    if (!scores)
        return NULL;
    sp_cost_in cost;
    const npy_intp n = PyArray_DIM(scores, 0);
    if (!sp_read_cost(cost_obj, n, &cost) || !sp_at_least(scores, "scores", -INFINITY) ||
        !(g = sp_new(NPY_FLOAT64, 1, &n)))
        goto end;
    sp_status status;
    Py_BEGIN_ALLOW_THREADS
    status = sp_gates(family, (int)n, PyArray_DATA(scores), cost.given ? &cost.cost : NULL, budget, temperature, &theta,
                      PyArray_DATA(g));
    Py_END_ALLOW_THREADS
    if (status == SP_BAD_BUDGET) {
        PyObject *seen = PyFloat_FromDouble(budget);
        if (seen)
            PyErr_Format(PyExc_ValueError,
                         "budget is %R; it must be above the cost without and at most the cost of all %zd nodes", seen,
                         (Py_ssize_t)n);
        Py_XDECREF(seen);
    } else if (!sp_raise(status))
        result = Py_BuildValue("Od", g, theta);
end:
    DROP(scores);
    sp_drop_cost(&cost);
    DROP(g);
    return result;
}

static PyObject *gates_backward(PyObject *module, PyObject *args, PyObject *kwargs)
{
    (void)module;
    static char *names[] = {"gates", "temperature", "dgates", "family", "cost", NULL};
    PyObject *gates_obj, *dgates_obj, *cost_obj = Py_None;
    double temperature;
    const char *family_name = "logistic";
    sp_family family;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OdO|sO:gates_backward", names, &gates_obj, &temperature,
                                     &dgates_obj, &family_name, &cost_obj) ||
        sp_read_family(family_name, &family) || sp_check("temperature", temperature, 0, true))
        return NULL;
    PyArrayObject *g = sp_in_vector(gates_obj, "gates", NPY_FLOAT64, -1);
    PyArrayObject *dgates = NULL, *dscores = NULL;
    if (!g)
        return NULL;
    sp_cost_in cost;
    const npy_intp n = PyArray_DIM(g, 0);
    if (sp_read_cost(cost_obj, n, &cost) && (dgates = sp_in_vector(dgates_obj, "dgates", NPY_FLOAT64, n)) &&
        (dscores = sp_new(NPY_FLOAT64, 1, &n)))
        sp_gates_backward(family, (int)n, PyArray_DATA(g), cost.given ? &cost.cost : NULL, temperature,
                          PyArray_DATA(dgates), PyArray_DATA(dscores));
    DROP(g);
    DROP(dgates);
    sp_drop_cost(&cost);
    return (PyObject *)dscores;
}

static PyObject *scores_step(PyObject *module, PyObject *args, PyObject *kwargs)
{
    (void)module;
    static char *names[] = {"scores", "grad", "velocity", "square", "step", "rate", NULL};
    PyObject *scores_obj, *grad_obj, *velocity_obj;
    double square, rate;
    long long step;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOdLd:scores_step", names, &scores_obj, &grad_obj, &velocity_obj,
                                     &square, &step, &rate) ||
        sp_check("square", square, 0, false) || sp_check("rate", rate, 0, false) ||
        sp_check("step", (double)step, 1, false))
        return NULL;
    PyArrayObject *scores = sp_inout_vector(scores_obj, "scores", NPY_FLOAT64, -1), *grad = NULL, *velocity = NULL;
    if (!scores)
        return NULL;
    const npy_intp n = PyArray_DIM(scores, 0);
    const bool ok = (grad = sp_in_vector(grad_obj, "grad", NPY_FLOAT64, n)) &&
                    (velocity = sp_inout_vector(velocity_obj, "velocity", NPY_FLOAT64, n));
    if (ok)
        square = sp_scores_step((int)n, (int)n, PyArray_DATA(scores), PyArray_DATA(grad), PyArray_DATA(velocity),
                                square, step, rate);
    DROP(scores);
    DROP(grad);
    DROP(velocity);
    return ok ? PyFloat_FromDouble(square) : NULL;
}

/* One limit for all layers (a whole number, at least 0), or an int32 vector of one for each. */
static bool read_limits(PyObject *obj, const char *name, int n_layers, int32_t missing, int32_t *limit)
{
    PyArrayObject *vector = NULL;
    long long all = missing;
    if (PyIndex_Check(obj) && !PyArray_Check(obj)) {
        all = PyNumber_AsSsize_t(obj, PyExc_OverflowError);
        if ((all == -1 && PyErr_Occurred()) || sp_check(name, (double)all, 0, false))
            return false;
    } else if (obj != Py_None && !(vector = sp_in_vector(obj, name, NPY_INT32, n_layers)))
        return false;
    bool ok = true;
    for (int l = 0; ok && l < n_layers; l++) {
        const long long value = vector ? DATA(int32_t, vector)[l] : all;
        ok = !sp_check(name, (double)value, 0, false);
        limit[l] = (int32_t)(value < SP_MAX_WIDTH ? value : SP_MAX_WIDTH);
    }
    DROP(vector);
    return ok;
}

static PyObject *select_nodes(PyObject *module, PyObject *args, PyObject *kwargs)
{
    (void)module;
    static char *names[] = {"scores", "layer", "n_nodes", "min_nodes", "max_nodes", "multiple", NULL};
    PyObject *scores_obj, *layer_obj, *low_obj, *high_obj = Py_None;
    long long n_nodes, multiple = 1;
    int32_t low[SP_MAX_LAYERS + 1], high[SP_MAX_LAYERS + 1];
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOLO|OL:select", names, &scores_obj, &layer_obj, &n_nodes, &low_obj,
                                     &high_obj, &multiple) ||
        sp_check("multiple", (double)multiple, 1, false))
        return NULL;
    PyArrayObject *scores = sp_in_vector(scores_obj, "scores", NPY_FLOAT64, -1), *layer = NULL, *keep = NULL;
    if (!scores)
        return NULL;
    const npy_intp n = PyArray_DIM(scores, 0);
    if (!sp_at_least(scores, "scores", -INFINITY) || !(layer = sp_in_vector(layer_obj, "layer", NPY_INT32, n)))
        goto end;
    const int32_t *l = PyArray_DATA(layer);
    int n_layers = 0;
    for (npy_intp i = 0; i < n; i++) {
        if (l[i] < 0 || l[i] > SP_MAX_LAYERS) {
            PyErr_Format(PyExc_ValueError, "layer holds %d; it must be from 0 to %d", l[i], SP_MAX_LAYERS);
            goto end;
        }
        n_layers = l[i] < n_layers ? n_layers : l[i] + 1;
    }
    if (!read_limits(low_obj, "min_nodes", n_layers, 0, low) ||
        !read_limits(high_obj, "max_nodes", n_layers, SP_MAX_WIDTH, high) || !(keep = sp_new(NPY_BOOL, 1, &n)))
        goto end;
    const sp_limits limits = {low, high, (int)(multiple < SP_MAX_WIDTH ? multiple : SP_MAX_WIDTH)};
    const sp_status status = n_nodes >= 0 && n_nodes <= n
                                 ? sp_select((int)n, PyArray_DATA(scores), l, (int)n_nodes, &limits, PyArray_DATA(keep))
                                 : SP_BAD_BUDGET;
    if (status == SP_BAD_BUDGET)
        PyErr_Format(
            PyExc_ValueError,
            "n_nodes is %lld; it must be from min_nodes = %R to max_nodes = %R in every layer of all %zd nodes, "
            "in multiples of %lld",
            n_nodes, low_obj, high_obj, (Py_ssize_t)n, multiple);
    if (status == SP_BAD_BUDGET || sp_raise(status))
        CLEAR(keep);
end:
    DROP(scores);
    DROP(layer);
    return (PyObject *)keep;
}

static PyObject *reduce(PyObject *module, PyObject *args, PyObject *kwargs)
{
    (void)module;
    static char *names[] = {"widths", "params", "keep", NULL};
    PyObject *widths, *params_obj, *keep_obj;
    sp_layout layout, small;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOO:reduce", names, &widths, &params_obj, &keep_obj) ||
        sp_read_layout(widths, NULL, &layout))
        return NULL;
    PyArrayObject *params = sp_in_vector(params_obj, "params", NPY_FLOAT32, layout.n_params), *keep = NULL, *out = NULL;
    if (params && (keep = sp_in_vector(keep_obj, "keep", NPY_BOOL, layout.n_gates)) &&
        !sp_raise(sp_reduce_layout(&layout, PyArray_DATA(keep), &small))) {
        const npy_intp n = small.n_params;
        if ((out = sp_new(NPY_FLOAT32, 1, &n)))
            sp_reduce(&layout, PyArray_DATA(keep), PyArray_DATA(params), PyArray_DATA(out));
    }
    DROP(params);
    DROP(keep);
    return (PyObject *)out;
}

static PyObject *loss(PyObject *module, PyObject *args, PyObject *kwargs)
{
    (void)module;
    static char *names[] = {"kind", "z", "target", "weight", NULL};
    const char *kind_name;
    PyObject *z_obj, *target_obj, *weight_obj = Py_None, *result = NULL;
    sp_loss kind;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "sOO|O:loss", names, &kind_name, &z_obj, &target_obj, &weight_obj) ||
        sp_read_loss(kind_name, &kind))
        return NULL;
    PyArrayObject *target = NULL, *weight = NULL, *dz = NULL;
    PyArrayObject *z = sp_in(z_obj, "z", NPY_FLOAT32, 2, (npy_intp[]){-1, -1});
    if (!z)
        return NULL;
    const npy_intp shape[2] = {PyArray_DIM(z, 0), PyArray_DIM(z, 1)};
    if (shape[0] == 0 || shape[1] == 0)
        PyErr_SetString(PyExc_ValueError, "z is empty; a loss needs at least one row and one output");
    else if ((target = sp_in(target_obj, "target", NPY_FLOAT32, 2, shape)) &&
             (weight_obj == Py_None || (weight = sp_in_vector(weight_obj, "weight", NPY_FLOAT32, shape[0]))) &&
             (dz = sp_new(NPY_FLOAT32, 2, shape))) {
        double value;
        Py_BEGIN_ALLOW_THREADS
        value = sp_loss_rows(kind, shape[0], (int)shape[1], PyArray_DATA(z), shape[1], PyArray_DATA(target), shape[1],
                             DATA(float, weight), 1.0f / (float)shape[0], PyArray_DATA(dz), shape[1]);
        Py_END_ALLOW_THREADS
        result = Py_BuildValue("dO", value, dz);
    }
    DROP(z);
    DROP(target);
    DROP(weight);
    DROP(dz);
    return result;
}

/* One optimiser step on flat arrays; decay is per parameter, so it is applied here in runs of equal decay. */
static PyObject *optimizer_step(const sp_optimizer *optimizer, PyObject *params_obj, PyObject *grad_obj,
                                PyObject *m_obj, PyObject *v_obj, PyObject *decay_obj, long long step, double rate)
{
    PyArrayObject *params = sp_inout_vector(params_obj, "params", NPY_FLOAT32, -1);
    PyArrayObject *grad = NULL, *m = NULL, *v = NULL, *decay = NULL;
    if (!params)
        return NULL;
    const npy_intp n = PyArray_DIM(params, 0);
    const bool ok = (grad = sp_in_vector(grad_obj, "grad", NPY_FLOAT32, n)) &&
                    (m = sp_inout_vector(m_obj, "m", NPY_FLOAT32, n)) &&
                    (!v_obj || (v = sp_inout_vector(v_obj, "v", NPY_FLOAT32, n))) &&
                    (decay_obj == Py_None || (decay = sp_in_vector(decay_obj, "decay", NPY_FLOAT32, n)));
    if (ok) {
        float *p = PyArray_DATA(params), *pm = PyArray_DATA(m), *pv = DATA(float, v);
        const float *g = PyArray_DATA(grad), *d = DATA(float, decay);
        for (npy_intp i = 0, end; i < n; i = end) {
            for (end = d ? i + 1 : n; end < n && d[end] == d[i]; end++)
                ;
            sp_optimizer_step(optimizer, end - i, p + i, g + i, pm + i, pv ? pv + i : NULL, step, rate, d ? d[i] : 0);
        }
    }
    DROP(params);
    DROP(grad);
    DROP(m);
    DROP(v);
    DROP(decay);
    if (!ok)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *adam_step(PyObject *module, PyObject *args, PyObject *kwargs)
{
    (void)module;
    static char *names[] = {"params", "grad",   "m",       "v",     "step", "learning_rate",
                            "beta_1", "beta_2", "epsilon", "decay", NULL};
    PyObject *params, *grad, *m, *v, *decay = Py_None;
    long long step;
    double rate;
    sp_optimizer adam = {.kind = SP_ADAM};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOOLdddd|O:adam_step", names, &params, &grad, &m, &v, &step, &rate,
                                     &adam.beta_1, &adam.beta_2, &adam.epsilon, &decay) ||
        sp_check("step", (double)step, 1, false) || sp_check("learning_rate", rate, 0, false) ||
        sp_check_share("beta_1", adam.beta_1) || sp_check_share("beta_2", adam.beta_2) ||
        sp_check("epsilon", adam.epsilon, 0, true))
        return NULL;
    return optimizer_step(&adam, params, grad, m, v, decay, step, rate);
}

static PyObject *sgd_step(PyObject *module, PyObject *args, PyObject *kwargs)
{
    (void)module;
    static char *names[] = {"params", "grad", "velocity", "learning_rate", "momentum", "nesterov", "decay", NULL};
    PyObject *params, *grad, *velocity, *decay = Py_None;
    double rate;
    int nesterov;
    sp_optimizer sgd = {.kind = SP_SGD};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOddp|O:sgd_step", names, &params, &grad, &velocity, &rate,
                                     &sgd.momentum, &nesterov, &decay) ||
        sp_check("learning_rate", rate, 0, false) || sp_check("momentum", sgd.momentum, 0, false))
        return NULL;
    sgd.nesterov = nesterov;
    return optimizer_step(&sgd, params, grad, velocity, NULL, decay, 1, rate);
}

static PyObject *probabilities(PyObject *module, PyObject *z_obj)
{
    (void)module;
    PyArrayObject *z = sp_in(z_obj, "z", NPY_FLOAT32, 2, (npy_intp[]){-1, 1});
    PyArrayObject *p = z ? sp_new(NPY_FLOAT64, 2, (npy_intp[]){PyArray_DIM(z, 0), 2}) : NULL;
    if (p)
        sp_probabilities(PyArray_DIM(z, 0), PyArray_DATA(z), PyArray_DATA(p));
    DROP(z);
    return (PyObject *)p;
}

PyMethodDef sp_methods[] = {
    {"isa", isa, METH_NOARGS, NULL},
    {"isas", isas, METH_NOARGS, NULL},
    {"n_params", n_params, METH_O, NULL},
    {"gates", KEYWORDS(gates)},
    {"gates_backward", KEYWORDS(gates_backward)},
    {"scores_step", KEYWORDS(scores_step)},
    {"select", KEYWORDS(select_nodes)},
    {"reduce", KEYWORDS(reduce)},
    {"loss", KEYWORDS(loss)},
    {"probabilities", probabilities, METH_O, NULL},
    {"adam_step", KEYWORDS(adam_step)},
    {"sgd_step", KEYWORDS(sgd_step)},
    {"fixed_cast", sp_py_fixed_cast, METH_VARARGS, NULL},
    {"fixed_table", sp_py_fixed_table, METH_VARARGS, NULL},
    {0},
};
