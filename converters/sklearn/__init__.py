"""scikit-learn: skops files, and pickles where they are trusted."""
