"""Thermostratum: the proxy itself. It owns sockets, clocks and policy; `protocol` owns the wire."""
