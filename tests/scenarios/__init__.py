"""Stories with real applications."""
