"""One update as a pure function, and the loop around it."""
