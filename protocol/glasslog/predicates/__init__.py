"""Predicates that glasslog itself writes and reads: what each says, as pure functions on statements.

Their types are ``urn:glasslog:predicate:<name>:v<n>``. A URN names the predicate for good without claiming a host name
that somebody would have to keep; a change that an old reader would misread takes the next version.
"""
