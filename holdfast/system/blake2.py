"""BLAKE2b without OpenSSL, which `hashlib` loads for it: 4 MiB in a gate's locked memory."""

from __future__ import annotations

try:
    from _blake2 import blake2b as blake2b
except ImportError:  # a Python whose builder wants all of it from OpenSSL
    from hashlib import blake2b as blake2b
