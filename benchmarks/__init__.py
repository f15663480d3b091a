"""Timings and sizes. Nothing here is a test: figures depend on the machine."""
