"""What to remove, and how: scores, selection, masks, steps."""
