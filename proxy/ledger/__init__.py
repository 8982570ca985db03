"""What was done, kept so that it can be proved: shares, energy, commands, audit."""
