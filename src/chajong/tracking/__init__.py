"""Runs shown in other services: Weights & Biases, MLflow, TensorBoard."""
