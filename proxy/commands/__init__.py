"""What the commands of `thermostratum` share: words, tables, HTTP."""
