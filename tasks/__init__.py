"""How a stage is run: retries, names, limits. No decisions.

Tasks have no tags: before each tagged one Prefect asks its server about limits, which can take it seconds.
"""
