"""Members of the families of plugs that need neither a kernel nor root."""
