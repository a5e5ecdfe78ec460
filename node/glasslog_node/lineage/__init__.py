"""A model's lineage as text, as a drawing, and as PROV-JSON for other tools."""
