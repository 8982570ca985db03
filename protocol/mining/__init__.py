"""The nouns that SV1 and SV2 both map onto, and the one share check."""
