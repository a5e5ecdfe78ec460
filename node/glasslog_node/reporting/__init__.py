"""Reports as files: bundles to make them again from, pages, print, and the examiner's signature (specs/report.md)."""
