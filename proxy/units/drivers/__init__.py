"""One driver per vendor API family, behind one Protocol."""
