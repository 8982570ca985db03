"""Consensus facts: ints and bytes, nothing about Stratum."""
