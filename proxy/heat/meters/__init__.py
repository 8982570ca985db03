"""Heat meters: what a reading must look like before anything believes it."""
