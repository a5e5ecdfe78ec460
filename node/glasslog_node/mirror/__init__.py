"""Static mirrors: a folder in the tlog-tiles layout that any web server or bucket serves (specs/mirror.md)."""
