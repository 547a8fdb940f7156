"""Detection's steps over many numbers, as compiled code."""
