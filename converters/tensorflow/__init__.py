"""TensorFlow: SavedModels, frozen graphs and TFLite files."""
