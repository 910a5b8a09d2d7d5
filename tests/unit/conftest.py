"""How models are searched. Here, because what is loaded beside other tests is in their forks."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("busy host", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy host")  # how long an example takes says how busy the host is
