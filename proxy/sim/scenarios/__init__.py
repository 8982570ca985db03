"""The scenarios that are shipped: TOML files, one a site the software is for. `thermostratum simulate --list` names them."""
