"""A lineage in W3C PROV, serialized as PROV-JSON by the ``prov`` package.

Models and data sets are entities, runs activities, authors agents. Each relation carries the log index of the statement
that says so, as ``glasslog:leaf``.
"""

from __future__ import annotations

from typing import Any

from prov.model import ProvDocument

from glasslog.audit.claims.lineage import Kind, Lineage

_NAMESPACE = "urn:glasslog:"


def write_prov_json(lineage: Lineage, *, origin: str, size: int) -> str:
    """Return the PROV-JSON text (W3C Member Submission 2013) of what the log ``origin`` says at ``size``."""
    document = ProvDocument()
    document.add_namespace("glasslog", _NAMESPACE)
    about: dict[str, Any] = {"glasslog:origin": origin, "glasslog:size": size}
    agents = {author: f"glasslog:author:{author}" for author in sorted({one.author for one in lineage.nodes.values()})}
    for author, name in agents.items():
        if author:
            document.agent(name, {"prov:label": author})
    for digest, node in lineage.nodes.items():
        said: dict[str, Any] = {
            "prov:label": node.name,
            "glasslog:digest": digest.hex(),
            "glasslog:kind": node.kind.value,
            **about,
        }
        known: dict[Any, Any] = {key: value for key, value in said.items() if value != ""}
        if node.kind is Kind.RUN:
            document.activity(_name(lineage, digest), None, None, known)
        else:
            document.entity(_name(lineage, digest), known)
        if node.author:
            relate = document.wasAssociatedWith if node.kind is Kind.RUN else document.wasAttributedTo
            relate(_name(lineage, digest), agents[node.author])
    for edge in lineage.edges:
        source, target = _name(lineage, edge.source), _name(lineage, edge.target)
        facts: dict[Any, Any] = {"prov:label": edge.relation, "glasslog:leaf": edge.index}
        if lineage.nodes[edge.source].kind is Kind.RUN:
            document.wasGeneratedBy(target, source, other_attributes=facts)
        elif lineage.nodes[edge.target].kind is Kind.RUN:
            document.used(target, source, other_attributes=facts)
        else:
            document.wasDerivedFrom(target, source, other_attributes=facts)
    text = document.serialize(format="json", indent=2)
    assert text is not None, "without a destination it is returned"
    return text + "\n"


def _name(lineage: Lineage, digest: bytes) -> str:
    kind = {Kind.MODEL: "model", Kind.RUN: "run", Kind.DATASET: "dataset"}[lineage.nodes[digest].kind]
    return f"glasslog:{kind}:{digest.hex()}"
