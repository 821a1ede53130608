"""Builds the C core: one static library per instruction set, linked into one extension module."""

import os
import platform
import sysconfig

import numpy as np
from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

LIMITED = not sysconfig.get_config_var("Py_GIL_DISABLED")  # the stable ABI does not exist without the GIL
SANITIZE = os.environ.get("SHADOWPRUNE_SANITIZE")  # for example "address,undefined" or "thread"
X86 = platform.machine().lower() in ("x86_64", "amd64")

FLAGS = [
    "-std=gnu11",
    "-O3",
    "-fvisibility=hidden",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-Wall",
    "-Wextra",
]
LINK = ["-lm", "-pthread"]
if SANITIZE:
    FLAGS += [f"-fsanitize={SANITIZE}", "-fno-omit-frame-pointer", "-g"]
    LINK += [f"-fsanitize={SANITIZE}"]

# Vectors are passed only between inlined functions, so the ABI note on wide vectors does not concern us.
KERNEL_FLAGS = [*FLAGS, "-Wno-psabi"]
TARGETS = {"baseline": []}
if X86:
    TARGETS["avx2"] = ["-mavx2", "-mfma"]
    TARGETS["avx512"] = [
        "-mavx512f",
        "-mavx512bw",
        "-mavx512dq",
        "-mavx512vl",
        "-mfma",
        "-mprefer-vector-width=512",
    ]

INCLUDE = ["csrc", "csrc/kernels"]
HEADERS = [
    "csrc/shadowprune.h",
    "csrc/packed.h",
    "csrc/team.h",
    "csrc/groups.h",
    "csrc/train.h",
    "csrc/kernels/kernels.h",
]
KERNEL_PARTS = [
    "csrc/kernels/table.h",
    "csrc/kernels/tile.h",
    "csrc/kernels/elementwise.h",
    "csrc/kernels/doubles.h",
    "csrc/kernels/columns.h",
]
CORE = ["status", "packed", "network", "predict", "shadow", "variants", "loss", "optimizer", "team"]
CORE += ["groups", "train", "path", "reduce", "fixed", "quantise", "kernels/dispatch"]
GLUE = ["module", "arguments", "arrays", "methods", "model", "predictor", "trainer", "path", "fixed"]


class BuildExt(build_ext):
    """Makes the kernel libraries first, however the build is started."""

    def run(self):
        self.run_command("build_clib")
        super().run()


class ABI3Wheel(bdist_wheel):
    """One wheel for every CPython from 3.11 on."""

    def get_tag(self):
        python, abi, plat = super().get_tag()
        return ("cp311", "abi3", plat) if LIMITED and python.startswith("cp") else (python, abi, plat)


macros = [
    ("_GNU_SOURCE", "1"),
    ("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"),
    ("NPY_TARGET_VERSION", "NPY_2_0_API_VERSION"),
    *([("Py_LIMITED_API", "0x030b0000")] if LIMITED else []),
]
setup(
    libraries=[
        (
            f"shadowprune_{name}",
            {
                "sources": [f"csrc/kernels/{name}.c"],
                "include_dirs": INCLUDE,
                "cflags": KERNEL_FLAGS + flags,
                "obj_deps": {f"csrc/kernels/{name}.c": HEADERS + KERNEL_PARTS},
            },
        )
        for name, flags in TARGETS.items()
    ],
    ext_modules=[
        Extension(
            "shadowprune._core",
            [f"csrc/{name}.c" for name in CORE] + [f"csrc/python/{name}.c" for name in GLUE],
            include_dirs=[*INCLUDE, np.get_include()],
            define_macros=macros + [(f"SP_HAVE_{name.upper()}", "1") for name in TARGETS],
            extra_compile_args=FLAGS,
            extra_link_args=LINK,
            depends=[*HEADERS, *KERNEL_PARTS, "csrc/python/glue.h", "csrc/python/trainer.h"],
            py_limited_api=LIMITED,
        )
    ],
    cmdclass={"build_ext": BuildExt, "bdist_wheel": ABI3Wheel},
)
