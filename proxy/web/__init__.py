"""HTTP: the live page, the API, live events, metrics and health."""
