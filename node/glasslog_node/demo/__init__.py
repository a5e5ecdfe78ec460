"""The demonstration: a real network of processes attests a real model, and five lies are caught."""
