"""What ``audit --against`` and ``compare`` say of two histories, and the files by which anybody can check it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from glasslog.audit import Comparison
from glasslog.audit.comparison import collect_culprits
from glasslog_node.errors import ConfigError

_CHECK = (
    "Both notes are C2SP signed notes: verify them with the policy's keys. Where sizes differ, proof is an RFC 9162 "
    "consistency proof from prefix_root, at the smaller size, to the root of the larger note; prefix_root is not what "
    "the smaller note states. Each culprit's first and second line stand under the smaller and the larger note. "
    "Each *.evidence file is two votes by one key that no rule lets it make both."
)
_LIMIT = "These keys signed both. Who held them is not shown: a stolen key signs as well."


def describe_comparisons(comparisons: Sequence[Comparison]) -> list[str]:
    """Return the comparisons for people: how each ended, then every culprit and what was signed."""
    lines: list[str] = []
    culprits = collect_culprits(comparisons)
    for each in comparisons:
        fact = each.undecided or each.fact
        lines.append(f"  compared     {each.first.label} with {each.second.label}: {_word(each)}: {fact}")
        if each.fork is not None:
            for side, names in zip((each.first, each.second), each.signers, strict=True):
                lines.append(f"  cosigned     {side.label}: {', '.join(names) or 'nobody of the policy'}")
    for culprit in culprits:
        lines.append(f"  culprit      {culprit.name} ({culprit.jurisdiction}): {culprit.offence} at {culprit.place}")
        lines.append(f"               key    {culprit.key}")
        lines += [f"               signed {_statement(one)}" for one in (culprit.first, culprit.second)]
    if culprits:
        count = len({culprit.name for culprit in culprits})
        least = max(comparison.least for comparison in comparisons)
        lines.append(f"  shown        {count} signed both; two quorums share at least {least} (f + 1). {_LIMIT}")
    return lines


def _word(comparison: Comparison) -> str:
    if comparison.contradicts:
        return "FORK"
    return "undecided" if comparison.undecided else comparison.relation.value


def _statement(signed: Mapping[str, object]) -> str:
    text = str(signed.get("line") or signed.get("vote"))
    return text if len(text) <= 100 else f"{text[:97]}..."


def write_evidence(comparisons: Sequence[Comparison], folder: Path) -> list[Path]:
    """Write what convicts into a new folder: the notes, the proof, the votes. Nothing is written where nobody is named.

    Raises:
        ConfigError: VERIFY-03, the folder exists, or cannot be written.
    """
    culprits = collect_culprits(comparisons)
    if not culprits:
        return []
    files: dict[str, bytes] = {}
    for number, comparison in enumerate(comparisons, 1):
        if comparison.fork is not None:
            files[f"{number}-smaller.note"] = comparison.fork.smaller
            files[f"{number}-larger.note"] = comparison.fork.larger
        if comparison.culprits:
            value = {"how_to_check": _CHECK, "not_shown": _LIMIT, **comparison.to_value()}
            files[f"{number}-conflict.json"] = (json.dumps(value, indent=2) + "\n").encode()
    for culprit in culprits:
        if culprit.evidence:
            files[f"{culprit.name}-{culprit.offence}.evidence"] = culprit.evidence
    try:
        folder.mkdir(parents=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
    except OSError as e:
        fact = f"writing {folder} failed: {(e.strerror or str(e)).lower()}"
        raise ConfigError("VERIFY-03", fact, "name a folder that does not exist yet") from e
    return [folder / name for name in sorted(files)]
