"""Measurements on real photos; each takes the folder as an argument and says how to run it."""

# Before any benchmark imports torch: how threads wait is read then, and users get it this way.
import chajong.training as training

__all__ = ["training"]
