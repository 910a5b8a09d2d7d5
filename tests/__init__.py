"""Tests of Holdfast. `tests.faults` holds the injectors that several rooms share."""
