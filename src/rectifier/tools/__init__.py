"""Commands, and what needs more than the library itself."""
