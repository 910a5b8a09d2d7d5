"""The Debian package and the wheel, built and installed as an administrator does it.

Takes minutes and the package registries: `make package-test`, and soak runs. What is cheap stands
in tests/unit/packaging.
"""
