"""YAML as cards, MLflow and DVC write it: PyYAML's safe loader, without what makes YAML dangerous or two-faced (M4).

PyYAML parses and composes. Refused while it composes: aliases and anchors (a small file can grow without bound), tags,
merge keys, several documents, depth. Of plain scalars only those are numbers or flags that YAML 1.1 and 1.2 read alike,
so that the language ``no``, the day 2025-01-01 and the identifier 12e34 stay text.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from glasslog_lab.errors import ArtifactError
from glasslog_lab.formats.reading import BYTE_ORDER_MARK, DEPTH_MAX, Json, check_tree, read_number, refusal

if TYPE_CHECKING:
    import yaml

YAML_BYTES_MAX = 1 << 20
_FRONT_END = re.compile(rb"^---[ \t]*$", re.MULTILINE)
# Plain scalars on which YAML 1.1 and 1.2 agree and that JSON can say; every other is text.
_SCALARS = (
    ("null", re.compile(r"(?:null|Null|NULL|~|)\Z"), ["n", "N", "~", ""]),
    ("bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")),
    ("int", re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z"), list("-+0123456789")),
    ("float", re.compile(r"[-+]?[0-9]+\.[0-9]*(?:[eE][-+][0-9]+)?\Z"), list("-+0123456789")),
)


def load_yaml(data: bytes, where: str) -> Json:
    """Return the value of one YAML document.

    Raises:
        ArtifactError: EXTRA-01 PyYAML is not installed, IMPORT-02 not YAML or a key twice, IMPORT-03 too long or deep,
            IMPORT-14 it uses aliases, tags or merge keys.
    """
    try:
        import yaml
    except ImportError as error:
        raise ArtifactError("EXTRA-01", "PyYAML is not installed", "pip install 'glasslog[lab]'") from error
    if len(data) > YAML_BYTES_MAX:
        raise refusal("IMPORT-03", where, f"has over {YAML_BYTES_MAX} bytes of YAML")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise refusal("IMPORT-02", where, f"is not UTF-8 at byte {error.start}") from error
    try:
        value = cast("Json", yaml.load(text, Loader=_make_loader()))  # noqa: S506  a SafeLoader, narrowed
    except _RefusedError as error:
        raise refusal(error.code, where, str(error)) from error
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        place = "" if line is None else f" at line {line + 1}"
        raise refusal("IMPORT-02", where, f"is not YAML: {problem}{place}") from error
    except (RecursionError, ValueError) as error:
        raise refusal("IMPORT-02", where, f"is not YAML that every reader reads alike: {error}") from error
    check_tree(value, where)
    return value


def split_front_matter(data: bytes, where: str) -> tuple[bytes, bytes]:
    """Cut a card into its YAML front matter and the text after it; no front matter is empty front matter.

    Raises:
        ArtifactError: IMPORT-02 the front matter does not end.
    """
    text = data.removeprefix(BYTE_ORDER_MARK).replace(b"\r\n", b"\n")
    if not text.startswith(b"---\n"):
        return b"", text
    end = _FRONT_END.search(text, 4, 4 + YAML_BYTES_MAX)
    if end is None:
        raise refusal("IMPORT-02", where, "has YAML front matter that does not end with ---")
    return text[4 : end.start()], text[end.end() :].lstrip(b"\n")


class _RefusedError(Exception):
    """What YAML allows and is not read here, with its code."""

    def __init__(self, code: str, fact: str) -> None:
        super().__init__(fact)
        self.code = code


@cache
def _make_loader() -> type[yaml.SafeLoader]:
    """Return the loader; made on first use, so that whoever reads no YAML needs no PyYAML."""
    import yaml

    class Loader(yaml.SafeLoader):
        depth = 0

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            event = cast("yaml.Event", cast("Any", self).peek_event())  # the stubs leave it open
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
                raise _RefusedError(
                    "IMPORT-14", "uses an anchor or alias, by which a small file can grow without bound"
                )
            if getattr(event, "tag", None) not in (None, "!"):
                raise _RefusedError("IMPORT-14", f"uses the tag {getattr(event, 'tag', '')[:60]}")
            self.depth += 1
            if self.depth > DEPTH_MAX:
                raise _RefusedError("IMPORT-03", f"is nested deeper than {DEPTH_MAX}")
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: ARG002  PyYAML's signature
            seen = set[str]()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise _RefusedError("IMPORT-14", "has a mapping or a list as a key")
                if key.value == "<<":
                    raise _RefusedError("IMPORT-14", "uses a merge key")
                if key.value in seen:
                    raise _RefusedError("IMPORT-02", f"key {key.value[:60]!r} stands twice in one mapping")
                seen.add(key.value)
            return {key.value: cast("Any", self).construct_object(value, deep=True) for key, value in node.value}

    prefix = "tag:yaml.org,2002:"
    Loader.yaml_implicit_resolvers = {}
    for name, pattern, first in _SCALARS:
        cast("Any", Loader).add_implicit_resolver(prefix + name, pattern, first)
    Loader.add_constructor(prefix + "int", _construct_number)
    Loader.add_constructor(prefix + "float", _construct_number)
    return Loader


def _construct_number(_: yaml.SafeLoader, node: yaml.ScalarNode) -> int | float:
    return read_number(node.value)
