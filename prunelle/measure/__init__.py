"""What is measured about a model: parameters, MACs, latency, size, accuracy; the Card holds them together.

Import from the file that holds what you need, for example `prunelle.measure.macs.count_macs`.
"""
