"""Lottery tickets: many trainings of one network under different masks."""
