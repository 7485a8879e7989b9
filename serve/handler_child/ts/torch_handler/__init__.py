"""Stands for `ts.torch_handler`: handlers to derive from, some of which serve by themselves."""
