"""A second opinion on what MXNet computes: its operators once more, in plain numpy, written from their meaning."""
