"""What labs already publish, read into facts and statements, and statements written out again (specs/formats.md)."""
