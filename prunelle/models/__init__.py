"""Networks, and how they come in: by name, from timm, from a user's file; weights; saved folders.

Import from the file that holds what you need: `prunelle.models.load.build`, `prunelle.models.names.check_spec`,
`prunelle.models.weights.read_weights`. Nothing is imported here, so that a misspelt name is refused without torch.
"""
