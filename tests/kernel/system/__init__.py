"""What Holdfast asks of Linux itself."""
