"""The fused heads: what follows from full-resolution scores, without building them.

A folder a head: its `__init__` is the public function, the other files are its backends.
"""
