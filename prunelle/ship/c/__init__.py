"""From a traced network to the text of one C file.

lower.py makes operations of a trace, fuse.py folds and fuses them, layout.py says where pixels lie, memory.py where
buffers lie, and conv.py, maps.py and vectors.py write the C of each operation.
"""
