"""Stratum V2, both roles, sans-I/O."""
