"""Stratum and Bitcoin, sans-I/O: bytes in, events out."""
