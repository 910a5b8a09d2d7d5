"""Stopping a process and letting it go on: one behaviour per file."""
