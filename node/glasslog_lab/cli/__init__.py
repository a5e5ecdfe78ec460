"""The lab's commands, one module a package."""
