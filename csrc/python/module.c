/* The module: multi-phase initialisation, no static Python objects. */
#define SP_MODULE
#include "glue.h"

#include <stdlib.h>

static int add_type(PyObject *module, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    if (!type)
        return -1;
    const int status = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return status;
}

static int execute(PyObject *module)
{
    import_array1(-1);
    const char *wanted = getenv("SHADOWPRUNE_ISA");
    if (wanted && !*wanted)
        wanted = NULL;
    if (sp_isa_select(wanted)) {
        PyErr_Format(PyExc_ImportError,
                     "SHADOWPRUNE_ISA=%s: this build or this processor has no such instruction set; "
                     "shadowprune knows baseline, avx2, avx512",
                     wanted);
        return -1;
    }
    if (PyModule_AddIntConstant(module, "MAX_LAYERS", SP_MAX_LAYERS))
        return -1;
    return add_type(module, &sp_model_spec) || add_type(module, &sp_predictor_spec) ||
                   add_type(module, &sp_trainer_spec) || add_type(module, &sp_fixed_type_spec)
               ? -1
               : 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,   .m_name = "_core", .m_doc = "The compiled part of shadowprune.",
    .m_methods = sp_methods, .m_slots = slots,
};

PyMODINIT_FUNC PyInit__core(void) { return PyModuleDef_Init(&definition); }
