/* _core.Trainer, of which trainer.c and path.c have the methods. */
#ifndef SP_PY_TRAINER_H
#define SP_PY_TRAINER_H

#include "glue.h"

typedef struct {
    PyObject_HEAD
    sp_trainer *trainer;
    atomic_flag busy;
} TrainerObject;

/* One thread at a time, or -1 and an error. */
static inline int sp_enter(TrainerObject *self)
{
    if (!atomic_flag_test_and_set(&self->busy))
        return 0;
    PyErr_SetString(PyExc_RuntimeError, "this training is under way in another thread");
    return -1;
}

static inline void sp_leave(TrainerObject *self) { atomic_flag_clear(&self->busy); }

PyObject *sp_py_set_path(TrainerObject *self, PyObject *args, PyObject *kwargs);
PyObject *sp_py_freeze(TrainerObject *self, PyObject *rank);
PyObject *sp_py_permute(TrainerObject *self, PyObject *order);
PyObject *sp_py_set_corrections(TrainerObject *self, PyObject *args, PyObject *kwargs);
PyObject *sp_py_get_corrections(TrainerObject *self, PyObject *unused);

#endif
