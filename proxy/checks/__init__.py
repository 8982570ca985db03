"""Finding every mistake in a site file, and saying what is allowed instead."""
