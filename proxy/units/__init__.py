"""Machines as plant: who they are, what they were told, what they do."""
