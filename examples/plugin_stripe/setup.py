"""Builds the compiled format against goldherd's own declarations (.pxd), which lie in the installed package."""

import goldherd
from Cython.Build import cythonize
from setuptools import Extension, setup

setup(
    ext_modules=cythonize(
        [Extension("goldherd_stripe", ["goldherd_stripe.pyx"])],
        include_path=[goldherd.get_include()],
        compiler_directives={"language_level": 3},
    )
)
