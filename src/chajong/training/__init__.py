"""From a recipe and photos to a trained run, and from a run to predictions."""
