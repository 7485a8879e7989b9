"""What runs while requests are answered, and the `onegate` command."""
