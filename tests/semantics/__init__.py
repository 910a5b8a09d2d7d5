"""One test per claim of docs/semantics.md."""
