"""Units and connections with their equations."""
