"""Kommo: who sells."""
