"""What happens, in order: one story a file."""
