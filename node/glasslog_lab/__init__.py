"""What a lab runs beside its node: digests of models and, later, recorders and importers."""
