"""Wire protocols: one file each, bytes to `InferenceRequest` and `InferenceResponse` to bytes."""
