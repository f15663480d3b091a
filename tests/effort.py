"""How long properties look for a counter-example."""

import os

from hypothesis import HealthCheck, settings

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "quick")


def load_profile() -> None:
    """Let properties look for seconds; with HYPOTHESIS_PROFILE=thorough for much longer."""
    patient = [HealthCheck.too_slow]
    settings.register_profile("quick", max_examples=25, deadline=None, derandomize=True)
    settings.register_profile("thorough", max_examples=2000, deadline=None, suppress_health_check=patient)
    settings.load_profile(PROFILE)


def costly(quick: int, thorough: int = 2000) -> settings:
    """Return the settings of a property whose examples make whole plans: a plan takes a tenth of a second."""
    return settings(max_examples=thorough if PROFILE == "thorough" else quick)
