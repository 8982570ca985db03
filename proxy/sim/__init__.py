"""The digital twin: real Stratum pools, miners and vendor APIs at a scaled-down rate, and the plant their heat goes into."""
