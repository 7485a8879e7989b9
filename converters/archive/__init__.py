"""Archives of MXNet Model Server and TorchServe: the model inside, and the service or handler around it."""
