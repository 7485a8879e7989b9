"""Turns exported models of every framework into ONNX and proves that they compute the same."""
