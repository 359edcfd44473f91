"""What is done with runs once they are trained: listed, noted, compared, repeated, put away."""
