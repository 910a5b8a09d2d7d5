"""The compiled part of the gate; the rest of the package is described in pyproject.toml."""

from pathlib import Path

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "holdfast.gate.data._fast_path",
            ["holdfast/gate/data/c/fast_path.c"],
            depends=sorted(map(str, Path("holdfast/gate/data/c").glob("*.h"))),
            extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra"],
            py_limited_api=True,  # one build serves every Python from 3.11 on
            optional=True,  # without a compiler everything is done in Python
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
