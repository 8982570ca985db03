"""The messages of Stratum V2, one module a subprotocol."""
