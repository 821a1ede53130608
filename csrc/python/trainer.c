/* _core.Trainer: the state of one training. */
#include "trainer.h"

#include <limits.h>
#include <math.h>
#include <string.h>

static PyObject *trainer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"widths", "activation", "loss",     "optimizer", "batch_size", "beta_1",
                            "beta_2", "epsilon",    "momentum", "nesterov",  "threads",    NULL};
    PyObject *widths;
    const char *activation, *loss_name, *optimizer_name = "adam";
    long long batch_size = 512, threads = 1;
    int nesterov = 1;
    sp_optimizer optimizer = {.beta_1 = 0.9, .beta_2 = 0.999, .epsilon = 1e-8, .momentum = 0.9};
    sp_layout layout;
    sp_loss loss;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "Oss|sLddddpL:Trainer", names, &widths, &activation, &loss_name,
                                     &optimizer_name, &batch_size, &optimizer.beta_1, &optimizer.beta_2,
                                     &optimizer.epsilon, &optimizer.momentum, &nesterov, &threads) ||
        sp_read_layout(widths, activation, &layout) || sp_read_loss(loss_name, &loss) ||
        sp_check("batch_size", (double)batch_size, 1, false) || sp_check_share("beta_1", optimizer.beta_1) ||
        sp_check_share("beta_2", optimizer.beta_2) || sp_check("epsilon", optimizer.epsilon, 0, true) ||
        sp_check("momentum", optimizer.momentum, 0, false) || sp_check("threads", (double)threads, 1, false))
        return NULL;
    optimizer.nesterov = nesterov;
    if (strcmp(optimizer_name, "sgd") == 0)
        optimizer.kind = SP_SGD;
    else if (strcmp(optimizer_name, "adam") != 0)
        return PyErr_Format(PyExc_ValueError, "optimizer is '%s'; it must be 'adam' or 'sgd'", optimizer_name);
    TrainerObject *self = (TrainerObject *)PyType_GenericAlloc(type, 0);
    if (!self)
        return NULL;
    atomic_flag_clear(&self->busy);
    const int n_threads = threads < INT_MAX ? (int)threads : INT_MAX;
    if (sp_raise(sp_trainer_new(&layout, loss, &optimizer, batch_size, n_threads, &self->trainer))) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static void trainer_dealloc(TrainerObject *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    sp_trainer_free(self->trainer);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyObject *set_state(TrainerObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"params", "m", "v", "step", NULL};
    PyObject *params_obj, *m_obj, *v_obj;
    long long step;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOL:set_state", names, &params_obj, &m_obj, &v_obj, &step) ||
        sp_check("step", (double)step, 0, false))
        return NULL;
    const npy_intp n = sp_trainer_layout(self->trainer)->n_params;
    PyArrayObject *params = NULL, *m = NULL, *v = NULL;
    bool ok = (params = sp_in_vector(params_obj, "params", NPY_FLOAT32, n)) &&
              (m = sp_in_vector(m_obj, "m", NPY_FLOAT32, n)) && (v = sp_in_vector(v_obj, "v", NPY_FLOAT32, n)) &&
              !sp_enter(self);
    if (ok) {
        sp_trainer_set(self->trainer, PyArray_DATA(params), PyArray_DATA(m), PyArray_DATA(v), step);
        sp_leave(self);
    }
    DROP(params);
    DROP(m);
    DROP(v);
    if (!ok)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *get_state(TrainerObject *self, PyObject *unused)
{
    (void)unused;
    const npy_intp n = sp_trainer_layout(self->trainer)->n_params;
    PyArrayObject *params = sp_new(NPY_FLOAT32, 1, &n), *m = sp_new(NPY_FLOAT32, 1, &n),
                  *v = sp_new(NPY_FLOAT32, 1, &n);
    PyObject *result = NULL;
    if (params && m && v && !sp_enter(self)) {
        const long long step = sp_trainer_get(self->trainer, PyArray_DATA(params), PyArray_DATA(m), PyArray_DATA(v));
        sp_leave(self);
        result = Py_BuildValue("OOOL", params, m, v, step);
    }
    DROP(params);
    DROP(m);
    DROP(v);
    return result;
}

static PyObject *set_shadow(TrainerObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"groups", "family", "method", NULL};
    PyObject *groups_obj, *result = NULL;
    const char *family_name = "logistic", *method_name = "shadow";
    sp_family family;
    sp_method method;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|ss:set_shadow", names, &groups_obj, &family_name, &method_name) ||
        sp_read_family(family_name, &family) || sp_read_method(method_name, &method))
        return NULL;
    const Py_ssize_t n_groups = PySequence_Size(groups_obj);
    if (n_groups < 0)
        return NULL;
    const int n_gates = sp_trainer_layout(self->trainer)->n_gates;
    sp_group *groups = PyMem_Calloc((size_t)n_groups + 1, sizeof *groups);
    PyArrayObject **held = PyMem_Calloc(2 * (size_t)n_groups + 1, sizeof *held);
    sp_cost_in *costs = PyMem_Calloc((size_t)n_groups + 1, sizeof *costs);
    bool *covered = PyMem_Calloc((size_t)n_gates, sizeof *covered);
    bool ok = groups && held && costs && covered;
    if (!ok)
        PyErr_NoMemory();
    for (Py_ssize_t i = 0; ok && i < n_groups; i++) {
        PyObject *item = PySequence_GetItem(groups_obj, i), *index, *score, *cost;
        PyArrayObject **h = held + 2 * i;
        ok = item && PyTuple_Check(item) &&
             PyArg_ParseTuple(item, "OOOd:group", &index, &score, &cost, &groups[i].rate) &&
             !sp_check("rate", groups[i].rate, 0, false) && (h[0] = sp_in_vector(index, "indices", NPY_INT32, -1)) &&
             (h[1] = sp_in_vector(score, "scores", NPY_FLOAT64, PyArray_DIM(h[0], 0))) &&
             sp_at_least(h[1], "scores", -INFINITY) && sp_read_cost(cost, PyArray_DIM(h[0], 0), costs + i);
        if (item && !ok && !PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "a group must be a tuple (indices, scores, cost, rate)");
        Py_XDECREF(item);
        if (!ok)
            break;
        groups[i].n = (int)PyArray_DIM(h[0], 0);
        groups[i].index = PyArray_DATA(h[0]);
        groups[i].score = PyArray_DATA(h[1]);
        groups[i].cost = costs[i].given ? &costs[i].cost : NULL;
        for (int k = 0; ok && k < groups[i].n; k++) {
            const int32_t gate = groups[i].index[k];
            ok = gate >= 0 && gate < n_gates && !covered[gate];
            if (!ok && (gate < 0 || gate >= n_gates))
                PyErr_Format(PyExc_ValueError, "indices holds %d; this network has gates 0 to %d", gate, n_gates - 1);
            else if (!ok)
                PyErr_Format(PyExc_ValueError, "indices holds %d twice; a gate obeys one budget", gate);
            else
                covered[gate] = true;
        }
        if (ok && groups[i].n == 0) {
            PyErr_SetString(PyExc_ValueError, "indices is empty; a group covers at least one node");
            ok = false;
        }
    }
    if (ok && !sp_enter(self)) {
        ok = !sp_raise(sp_trainer_set_shadow(self->trainer, method, family, (int)n_groups, groups));
        sp_leave(self);
        if (ok) {
            Py_INCREF(Py_None);
            result = Py_None;
        }
    }
    for (Py_ssize_t i = 0; held && i < 2 * n_groups; i++)
        DROP(held[i]);
    for (Py_ssize_t i = 0; costs && i < n_groups; i++)
        sp_drop_cost(costs + i);
    PyMem_Free(costs);
    PyMem_Free(groups);
    PyMem_Free(held);
    PyMem_Free(covered);
    return result;
}

static PyObject *set_quantiser(TrainerObject *self, PyObject *layers)
{
    const int n_layers = sp_trainer_layout(self->trainer)->n_layers;
    sp_fixed weight[SP_MAX_LAYERS], output[SP_MAX_LAYERS];
    int fraction[SP_MAX_LAYERS];
    const Py_ssize_t n = PySequence_Size(layers);
    if (n < 0)
        return NULL;
    if (n != n_layers) {
        PyErr_Format(PyExc_ValueError, "layers has %zd entries; this network has %d dense layers", n, n_layers);
        return NULL;
    }
    for (int l = 0; l < n_layers; l++) {
        PyObject *item = PySequence_GetItem(layers, l), *types[2];
        const bool ok =
            item && PyTuple_Check(item) && PyArg_ParseTuple(item, "OiO:layer", &types[0], &fraction[l], &types[1]) &&
            !sp_read_type(types[0], &weight[l]) && (l == n_layers - 1 || !sp_read_type(types[1], &output[l]));
        if (item && !ok && !PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "a layer must be a tuple (weight type, bias fraction, output type)");
        Py_XDECREF(item);
        if (!ok)
            return NULL;
    }
    if (sp_enter(self))
        return NULL;
    const sp_status status = sp_trainer_set_quantiser(self->trainer, weight, output, fraction);
    sp_leave(self);
    if (sp_raise(status))
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *get_shadow(TrainerObject *self, PyObject *unused)
{
    (void)unused;
    PyObject *list = PyList_New(0);
    if (!list || sp_enter(self)) {
        Py_XDECREF(list);
        return NULL;
    }
    for (int i = 0; list && i < sp_trainer_n_groups(self->trainer); i++) {
        const npy_intp n = sp_trainer_group_size(self->trainer, i);
        PyArrayObject *scores = sp_new(NPY_FLOAT64, 1, &n);
        if (scores)
            memcpy(PyArray_DATA(scores), sp_trainer_scores(self->trainer, i), sizeof(double) * (size_t)n);
        if (!scores || PyList_Append(list, (PyObject *)scores))
            Py_CLEAR(list);
        DROP(scores);
    }
    sp_leave(self);
    return list;
}

static PyObject *reduced(TrainerObject *self, PyObject *keep_obj)
{
    PyArrayObject *keep = sp_in_vector(keep_obj, "keep", NPY_BOOL, sp_trainer_layout(self->trainer)->n_gates);
    TrainerObject *smaller = keep ? (TrainerObject *)PyType_GenericAlloc(Py_TYPE((PyObject *)self), 0) : NULL;
    if (smaller) {
        atomic_flag_clear(&smaller->busy);
        bool ok = !sp_enter(self);
        if (ok) {
            ok = !sp_raise(sp_trainer_reduced(self->trainer, PyArray_DATA(keep), &smaller->trainer));
            sp_leave(self);
        }
        if (!ok) {
            Py_DECREF(smaller);
            smaller = NULL;
        }
    }
    DROP(keep);
    return (PyObject *)smaller;
}

static PyObject *gates(TrainerObject *self, PyObject *unused)
{
    (void)unused;
    const npy_intp n = sp_trainer_layout(self->trainer)->n_gates;
    PyArrayObject *g = sp_new(NPY_FLOAT32, 1, &n);
    if (!g || sp_enter(self)) {
        DROP(g);
        return NULL;
    }
    memcpy(PyArray_DATA(g), sp_trainer_gates(self->trainer), sizeof(float) * (size_t)n);
    sp_leave(self);
    return (PyObject *)g;
}

static bool positive(PyArrayObject *array, const char *name)
{
    const double *value = PyArray_DATA(array);
    for (npy_intp i = 0; i < PyArray_SIZE(array); i++)
        if (sp_check(name, value[i], 0, true))
            return false;
    return true;
}

static PyObject *run(TrainerObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"x",       "target",       "weight", "order", "learning_rate", "weight_decay",
                            "budgets", "temperatures", NULL};
    PyObject *x_obj, *target_obj, *weight_obj, *order_obj, *rate_obj, *decay_obj;
    PyObject *budget_obj = Py_None, *temperature_obj = Py_None, *result = NULL;
    PyArrayObject *x = NULL, *target = NULL, *weight = NULL, *order = NULL, *rate = NULL, *decay = NULL;
    PyArrayObject *budget = NULL, *temperature = NULL, *losses = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOOOO|OO:run", names, &x_obj, &target_obj, &weight_obj, &order_obj,
                                     &rate_obj, &decay_obj, &budget_obj, &temperature_obj))
        return NULL;
    const sp_layout *layout = sp_trainer_layout(self->trainer);
    if (!(x = sp_in(x_obj, "x", NPY_FLOAT32, 2, (npy_intp[]){-1, layout->width[0]})))
        goto end;
    const npy_intp n_rows = PyArray_DIM(x, 0);
    if (!(target =
              sp_in(target_obj, "target", NPY_FLOAT32, 2, (npy_intp[]){n_rows, layout->width[layout->n_layers]})) ||
        (weight_obj != Py_None && !(weight = sp_in_vector(weight_obj, "weight", NPY_FLOAT32, n_rows))) ||
        !(order = sp_in_vector(order_obj, "order", NPY_INT32, -1)))
        goto end;
    if ((PyObject *)order == order_obj) { /* what is checked here must not change while the GIL is released */
        PyArrayObject *own = (PyArrayObject *)PyArray_NewCopy(order, NPY_CORDER);
        DROP(order);
        if (!(order = own))
            goto end;
    }
    const npy_intp n = PyArray_DIM(order, 0), batch = sp_trainer_batch_size(self->trainer);
    const npy_intp n_steps = n / batch + (n % batch > 0);
    const int32_t *rows = PyArray_DATA(order);
    bool in_turn = true;
    for (npy_intp i = 0; i < n; i++) {
        if (rows[i] < 0 || rows[i] >= n_rows) {
            PyErr_Format(PyExc_ValueError, "order holds %d; x has rows 0 to %zd", rows[i], (Py_ssize_t)n_rows - 1);
            goto end;
        }
        in_turn &= rows[i] - rows[0] == i;
    }
    if (!(rate = sp_in_vector(rate_obj, "learning_rate", NPY_FLOAT32, n_steps)) ||
        !sp_at_least(rate, "learning_rate", 0) ||
        !(decay = sp_in_vector(decay_obj, "weight_decay", NPY_FLOAT32, n_steps)) ||
        !sp_at_least(decay, "weight_decay", 0) || !(losses = sp_new(NPY_FLOAT64, 1, &n_steps)))
        goto end;
    if (sp_enter(self))
        goto end;
    const int n_groups = sp_trainer_n_groups(self->trainer), n_budgets = sp_trainer_n_budgets(self->trainer);
    if (n_groups || budget_obj != Py_None || temperature_obj != Py_None) {
        if (!(budget = sp_in(budget_obj, "budgets", NPY_FLOAT64, 2, (npy_intp[]){n_steps, n_budgets})) ||
            !(temperature = sp_in(temperature_obj, "temperatures", NPY_FLOAT64, 2, (npy_intp[]){n_steps, n_groups})) ||
            !positive(budget, "budgets") || !positive(temperature, "temperatures")) {
            sp_leave(self);
            goto end;
        }
    }
    sp_run job = {
        .x = PyArray_DATA(x),
        .target = PyArray_DATA(target),
        .weight = DATA(float, weight),
        .order = in_turn ? NULL : rows,
        .first = in_turn && n ? rows[0] : 0,
        .n = n,
        .rate = PyArray_DATA(rate),
        .decay = PyArray_DATA(decay),
        .budget = DATA(double, budget),
        .temperature = DATA(double, temperature),
        .loss = PyArray_DATA(losses),
    };
    const int64_t few =
        (int64_t)(SP_SLICE / ((double)batch * (double)layout->n_params)) + 1; /* steps between two looks for Ctrl-C */
    sp_status status = SP_OK;
    bool stopped = false;
    while (job.n > 0 && !status && !stopped) {
        int64_t done;
        const int64_t left = job.n;
        job.n = left / batch < few ? left : few * batch;
        Py_BEGIN_ALLOW_THREADS
        status = sp_trainer_run(self->trainer, &job, &done);
        Py_END_ALLOW_THREADS
        job.first += job.n;
        job.n = left - job.n;
        job.rate += done;
        job.decay += done;
        job.loss += done;
        if (n_groups) {
            job.budget += done * n_budgets;
            job.temperature += done * n_groups;
        }
        stopped = PyErr_CheckSignals() < 0;
    }
    sp_leave(self);
    if (!stopped && !sp_raise(status)) {
        result = (PyObject *)losses;
        losses = NULL;
    }
end:
    DROP(x);
    DROP(target);
    DROP(weight);
    DROP(order);
    DROP(rate);
    DROP(decay);
    DROP(budget);
    DROP(temperature);
    DROP(losses);
    return result;
}

static PyMethodDef methods[] = {
    {"set_state", KEYWORDS(set_state)},
    {"get_state", (PyCFunction)get_state, METH_NOARGS, NULL},
    {"set_shadow", KEYWORDS(set_shadow)},
    {"get_shadow", (PyCFunction)get_shadow, METH_NOARGS, NULL},
    {"set_quantiser", (PyCFunction)set_quantiser, METH_O, NULL},
    {"set_path", KEYWORDS(sp_py_set_path)},
    {"freeze", (PyCFunction)sp_py_freeze, METH_O, NULL},
    {"permute", (PyCFunction)sp_py_permute, METH_O, NULL},
    {"set_corrections", KEYWORDS(sp_py_set_corrections)},
    {"get_corrections", (PyCFunction)sp_py_get_corrections, METH_NOARGS, NULL},
    {"gates", (PyCFunction)gates, METH_NOARGS, NULL},
    {"reduced", (PyCFunction)reduced, METH_O, NULL},
    {"run", KEYWORDS(run)},
    {0},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "Weights, moments, scores and scratch memory of one training."},
    {Py_tp_new, trainer_new},
    {Py_tp_dealloc, trainer_dealloc},
    {Py_tp_methods, methods},
    {0, NULL},
};

PyType_Spec sp_trainer_spec = {
    .name = "shadowprune._core.Trainer",
    .basicsize = sizeof(TrainerObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};
