"""Answering without torch: what a bundle's networks say of photos, quickly."""
