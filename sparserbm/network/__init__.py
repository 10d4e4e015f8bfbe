"""Neurons and the connections between them."""
