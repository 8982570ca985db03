"""Towards the miners: sockets in, channels out."""
