/* Python, by its limited API. */

#pragma once

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000 /* 3.11: the first with buffers in the limited API */
#include <Python.h>
