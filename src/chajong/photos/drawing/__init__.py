"""The cars of the demo photos, drawn from a few numbers; Pillow and numpy only."""
