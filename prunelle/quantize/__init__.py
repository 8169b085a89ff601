"""Weights and activations in few bits. Import from the file that holds what you need."""
