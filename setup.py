"""Builds the one compiled module, ``cascade._hot``; everything else is declared in pyproject.toml.

Three switches are read from the environment:

- ``CASCADE_BUILD_PURE=1``: no extension; the package runs on its Python kernel.
- ``CASCADE_BUILD_TRACE=1``: line tracing, for coverage of the .pyx.
- ``CASCADE_BUILD_DEBUG=1``: symbols, no optimisation, an annotated listing and the checks behind ``CASCADE_DEBUG``.
"""

from __future__ import annotations

import os

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError, CompileError

REMEDY = (
    "cascade._hot could not be compiled. Install a C compiler and the headers of this Python "
    "(Debian: gcc and python3-dev; macOS: xcode-select --install; Windows: the Visual C++ build tools), "
    "or set CASCADE_BUILD_PURE=1 to install without the compiled kernel. The reason was: {reason}"
)


def switch(name: str) -> bool:
    """Tells whether the environment asks for the build flavour CASCADE_BUILD_<name>."""
    return os.environ.get(f"CASCADE_BUILD_{name}", "") not in ("", "0")


PURE, TRACE, DEBUG = switch("PURE"), switch("TRACE"), switch("DEBUG")


class BuildHot(build_ext):
    """Translates with Cython and compiles, each time anew: time stamps know nothing of the switches."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.force = True

    def build_extension(self, ext: Extension) -> None:
        ext.sources = translated(ext)
        ext.extra_compile_args, ext.extra_link_args = flags(msvc=self.compiler.compiler_type == "msvc")
        try:
            super().build_extension(ext)
        except (BaseError, CCompilerError, OSError) as error:
            raise CompileError(REMEDY.format(reason=error)) from error


def translated(ext: Extension) -> list[str]:
    """Writes the C source below build/. A trace build keeps it beside the .pyx, where the coverage plugin looks."""
    from Cython.Build import cythonize

    [result] = cythonize(
        [Extension(ext.name, ext.sources)],
        build_dir=None if TRACE else "build/cython",
        compiler_directives={"linetrace": TRACE},
        annotate=DEBUG,
        force=True,
        language_level=3,
    )
    return list(result.sources)


def flags(*, msvc: bool) -> tuple[list[str], list[str]]:
    """Returns the compiler's and the linker's arguments, which win over those that Python itself was built with."""
    if msvc:
        return (["/Od", "/Zi"], ["/DEBUG"]) if DEBUG else (["/O2"], [])
    if DEBUG:
        return ["-O0", "-g"], []
    return (["-O0"], []) if TRACE else (["-O2"], [])  # a trace build is compiled for a single run of the tests


def macros() -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = [("CASCADE_DEBUG", "1" if DEBUG else "0")]
    if TRACE:
        found += [("CYTHON_TRACE", "1"), ("CYTHON_TRACE_NOGIL", "1"), ("CYTHON_USE_SYS_MONITORING", "0")]
    return found


KERNEL = Extension(
    "cascade._hot",
    ["cascade/_hot.pyx"],
    define_macros=macros(),
    include_dirs=["cascade"],
    depends=["cascade/_aside.h"],
)

setup(
    ext_modules=[] if PURE else [KERNEL],
    cmdclass={"build_ext": BuildHot},
)
