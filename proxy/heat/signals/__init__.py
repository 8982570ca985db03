"""What a utility sends, one module a transport, each turned into the one HeatDemand the rest of heat control knows."""
