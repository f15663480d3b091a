"""Settings of the whole test run."""

import os

from hypothesis import HealthCheck, settings

# A planner call costs some ten milliseconds whatever the size of its tables. HYPOTHESIS_PROFILE=thorough looks longer.
settings.register_profile("quick", max_examples=40, deadline=None, derandomize=True)
settings.register_profile("thorough", max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
