"""Stratum V1, both roles, sans-I/O."""
