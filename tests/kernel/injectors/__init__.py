"""The faults that tests inject (tests/faults) do what tests rely on."""
