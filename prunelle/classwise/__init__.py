"""One network into small ones, each for some classes, that answer in parallel."""
