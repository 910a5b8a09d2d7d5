"""Holdfast: replace, restore or rewind the storage under a running Linux application."""

__version__ = "0.1.0"
