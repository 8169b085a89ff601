"""Data sets become Tasks here: `load.load_task`, `loaders.from_loaders`; `find.check_data` asks without reading.

Nothing is imported on the way in, so that the command line can refuse a data set before it loads torch.
"""
