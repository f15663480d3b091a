"""Both APIs on one loopback port, written from the reference pages alone.

Nothing here imports the rest of `dealsync`: a mistake in reading an API must not be made twice and cancel out.
"""
