"""Towards the pools: one supervised task for each connection."""
