"""One trace of a model, what in it must shrink together, and the cut that makes it smaller."""
