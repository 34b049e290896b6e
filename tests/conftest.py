"""What all tests share: property tests that draw the same examples in every run, and leave no files."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "cnnlab",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("cnnlab")
