"""What holds for the whole suite: how hypothesis works. Fixtures are in the packages' own files."""

from hypothesis import HealthCheck, settings

# Speed is not what the suite judges: on a busy machine an example takes long to make and to run, and the code is as right as ever.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")
