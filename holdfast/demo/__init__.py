"""The demonstration: real applications keep writing while their storage is taken away."""
