"""What turns raw bodies into tensors and outputs into bodies, one file a kind."""
