"""The demonstration: a lab trains a model before a real network of processes, and six lies are caught."""
