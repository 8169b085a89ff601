"""What leaves the house: runtimes that run a model as it will be shipped, and the files they run.

Import from the file that holds what you need, for example `prunelle.ship.runtimes.load_runtime`.
"""
