"""The digital twin in virtual time: the real heat control and unit lives over simulated machines, water, meters and a utility."""
