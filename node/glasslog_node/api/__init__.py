"""The HTTP interface: submission for this institute's own clients, the log for everyone (specs/log.md, L10)."""
