"""The small file: one network in one file, near the entropy of its weights, bit for bit."""
