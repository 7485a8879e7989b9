"""PyTorch: what `torch.export`, `torch.jit` and `torch.save` write."""
