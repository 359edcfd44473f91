"""Tells the exact model of a car from a used-car photo, with a probability one can trust."""
