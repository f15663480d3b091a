"""Lemon Squeezy: who paid."""
