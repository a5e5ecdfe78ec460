"""The custody rules, a module for each subject. Importing one enters its rules."""

from glasslog.audit.claims.rules import evaluating, origins, releasing, rights, signing, training

__all__ = ["evaluating", "origins", "releasing", "rights", "signing", "training"]
