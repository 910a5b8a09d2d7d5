"""The steps that bring a catalog file from any earlier shape to the present one."""
