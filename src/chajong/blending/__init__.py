"""Fitting of blends on out-of-fold tables; needs SciPy, applying a blend does not."""
