"""Every process of the gate killed at any moment: whoever survives goes on."""
