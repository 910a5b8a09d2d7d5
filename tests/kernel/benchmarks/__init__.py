"""What a person at a terminal has of it: every command, its log, the library."""
