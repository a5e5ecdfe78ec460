"""The commands (specs of each in its ``--help``). One module a command, imported only when it is run."""
