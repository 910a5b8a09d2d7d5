"""Mounts that Holdfast did not make: adopted, detached, attached again."""
