"""Prunelle prunes neural networks and measures the file you ship: what you prune is what you ship.

The pieces, each in the file named: `data.load.load_task`, `models.open.open_model`, `models.save.save` and `load`,
`train.stage.Train`, `prune.weights.PruneGradually`, `measure.card`, `recipes.experiment.run_experiment`.
"""

__version__ = "0.1.0"
