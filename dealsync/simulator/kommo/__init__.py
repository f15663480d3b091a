"""The Kommo half: one account with users, pipelines, deals, contacts, notes, tasks, and its API v4."""
