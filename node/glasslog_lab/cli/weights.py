"""``attest model``, ``diff``, ``prove-tensor``, ``verify-tensor``: weights by their tensors (specs/weights.md)."""

from __future__ import annotations

import json as json_text
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from glasslog_lab.cli.emit import (
    AsJson,
    AuthorName,
    Destination,
    NodeAddress,
    Output,
    ShowPublic,
    SpoolFolder,
    TokenFile,
    Wait,
    emit,
)
from glasslog_lab.errors import ArtifactError

if TYPE_CHECKING:
    from glasslog.predicates.values import Resource
    from glasslog_lab.weights.cache import Cache
    from glasslog_lab.weights.measuring import ModelMeasured
    from glasslog_lab.weights.sides import Side

PROGRESS_BYTES_MIN = 256 << 20  # below, the work is done before a bar is read
EXIT_DIFFERENT = 1
_DIGESTS = ("sha256", "blake3", "tensors")

Main = Annotated[str | None, typer.Option(help="The file that holds the model, where several do.")]
FollowLinks = Annotated[
    bool, typer.Option("--follow-links", help="Read files that links lead to outside the folder (Hugging Face cache).")
]
UseCache = Annotated[
    bool, typer.Option("--cache/--no-cache", help="Take the digests of files that have not changed from earlier runs.")
]


def attest_model(  # noqa: PLR0913, PLR0917  Typer's manner: an option is an argument
    path: Annotated[Path, typer.Argument(help="A model: a file, a folder, or the index of its shards.")],
    name: Annotated[str | None, typer.Option(help="What its publisher calls it. [default: the path's name]")] = None,
    version: Annotated[str | None, typer.Option(help="Its version, as its publisher counts.")] = None,
    license: Annotated[str | None, typer.Option(help="Its licence, an SPDX expression.")] = None,  # noqa: A002  the option's name
    architecture: Annotated[str | None, typer.Option(help="As its configuration names it.")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="Its tokenizer's file, stated by digest.")] = None,
    base_model: Annotated[
        list[str] | None, typer.Option(help="What it was made from: a content root, a URI or a name; again for more.")
    ] = None,
    base_model_relation: Annotated[
        str | None, typer.Option(help="How: finetune, adapter, merge, quantized or distilled.")
    ] = None,
    description: Annotated[str | None, typer.Option(help="One paragraph.")] = None,
    digest: Annotated[
        list[str] | None, typer.Option(help="Compute this alone: sha256, blake3 or tensors; again for more.")
    ] = None,
    main: Main = None,
    follow_links: FollowLinks = False,
    as_files: Annotated[bool, typer.Option("--as-files", help="Digest files and look into none.")] = False,
    manifest: Annotated[
        Path | None, typer.Option(help="Where to write the list of files, if a statement cannot hold it.")
    ] = None,
    tensors: Annotated[
        Path | None, typer.Option(help="Where to write the list of tensors, .cbor: proofs and diffs work from it.")
    ] = None,
    cache: UseCache = True,
    show_public: ShowPublic = False,
    output: Output = None,
    spool: SpoolFolder = None,
    node: NodeAddress = None,
    token_file: TokenFile = None,
    wait: Wait = False,
    author: AuthorName = None,
    json: AsJson = False,
) -> None:
    """State what a model consists of: its tensors by one root, whatever files they are in, and the files' digests."""
    from glasslog.tensors import encode_list
    from glasslog_lab.weights.sides import write_whole
    from glasslog_lab.weights.statement import describe_list, make_model, state_model

    measured = _measure(path, digest, main=main, follow=follow_links, as_files=as_files, cache=cache)
    facts: dict[str, Any] = {
        "name": name,
        "version": version,
        "license": license,
        "architecture": architecture,
        "tokenizer": None if tokenizer is None else _describe_file(tokenizer),
        "base_model": tuple(_describe_base(one) for one in base_model or ()) or None,
        "base_model_relation": base_model_relation,
        "description": description,
    }
    if tensors is not None:
        listing = encode_list(measured.tensors)
        write_whole(tensors, listing)
        facts["evidence"] = (describe_list(tensors.name, listing),)
    model = make_model(measured, **{key: value for key, value in facts.items() if value is not None})
    statement, listed = state_model(model, manifest=manifest is not None)
    if listed is not None and manifest is not None:
        write_whole(manifest, listed)
    emit([statement], Destination(show_public, json, output, spool, node, wait, token_file, author))


def diff(
    first: Annotated[Path, typer.Argument(help="Weights, a list of tensors (.cbor), or a statement (.json).")],
    second: Annotated[Path, typer.Argument(help="Another of these.")],
    main: Main = None,
    follow_links: FollowLinks = False,
    cache: UseCache = True,
    json: AsJson = False,
) -> None:
    """Compare two models tensor by tensor. Status: 0 the same tensors, 1 other ones."""
    from glasslog_lab.weights.comparing import compare_tensors
    from glasslog_lab.weights.refusals import refusal

    one, other = (_read_side(path, main=main, follow=follow_links, cache=cache) for path in (first, second))
    facts: dict[str, Any] = {"same": one.root == other.root, "roots": [one.root.hex(), other.root.hex()]}
    if one.tensors is not None and other.tensors is not None:
        found = compare_tensors(one.tensors, other.tensors)
        line = found.line
        facts |= {
            "matching": found.matching,
            "total": found.total,
            "values": found.values,
            "shapes": found.shapes,
            "onlyFirst": found.only_first,
            "onlySecond": found.only_second,
            "renamed": found.renamed,
        }
    elif facts["same"]:
        line = f"all {one.count} tensors match"
    else:
        line = str(refusal("WEIGHTS-05", "the content roots differ; a statement does not say which tensors do"))
    typer.echo(json_text.dumps(facts | {"line": line}) if json else line)
    if not facts["same"]:
        raise typer.Exit(EXIT_DIFFERENT)


def prove_tensor(
    path: Annotated[Path, typer.Argument(help="Weights, or a list of their tensors (.cbor).")],
    tensor: Annotated[str, typer.Argument(help="The tensor's name.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the proof.")] = Path("tensor.proof"),
    main: Main = None,
    follow_links: FollowLinks = False,
    cache: UseCache = True,
    json: AsJson = False,
) -> None:
    """Prove that one tensor is of a model, without showing the others."""
    from glasslog.tensors import prove_tensor as make_proof
    from glasslog_lab.weights.refusals import quote, refusal, refuse
    from glasslog_lab.weights.sides import write_whole

    side = _read_side(path, main=main, follow=follow_links, cache=cache)
    if side.tensors is None:
        refuse("WEIGHTS-07", f"{quote(str(path))} is a statement, which names no tensor")
    try:
        proof = make_proof(side.tensors, tensor)
    except KeyError as error:
        raise refusal("WEIGHTS-06", f"{quote(str(path))} has no tensor {quote(tensor)}") from error
    write_whole(output, proof.encode())
    if json:
        typer.echo(json_text.dumps({"root": side.root.hex(), "proof": str(output), **_describe_tensor(proof.tensor)}))
        return
    typer.echo(f"{output}: {tensor} is tensor {proof.index} of {proof.size}")
    typer.echo(f"Next: glasslog verify-tensor {output} --root {side.root.hex()}")


def verify_tensor(
    proof: Annotated[Path, typer.Argument(help="What `prove-tensor` wrote.")],
    root: Annotated[str | None, typer.Option(help="The model's content root, hexadecimal.")] = None,
    statement: Annotated[Path | None, typer.Option(help="The statement that has the root (.json or .cbor).")] = None,
    content: Annotated[Path | None, typer.Option(help="A file of the tensor's bytes, or weights that hold it.")] = None,
    json: AsJson = False,
) -> None:
    """Verify offline that a tensor is of the model with this root, and that bytes at hand are its own."""
    from glasslog.errors import ProtocolError
    from glasslog.tensors import PROOF_BYTES_MAX, TensorProof
    from glasslog.tensors import verify_tensor as verify
    from glasslog_lab.weights.sides import read_root, read_small

    trusted = read_root(root, statement)
    data = read_small(proof, PROOF_BYTES_MAX)
    try:
        read = TensorProof.decode(data)
        verify(read, trusted)
        if content is not None:
            verify(read, trusted, _hash_content(content, read.tensor.name))
    except ProtocolError as error:
        step = "ask whoever gave you the proof for one of this tensor and this root"
        raise ArtifactError(error.code, error.fact, step) from error
    one = read.tensor
    if json:
        facts = {"verified": True, "root": trusted.hex(), "contentChecked": content is not None}
        typer.echo(json_text.dumps(facts | _describe_tensor(one)))
        return
    shape = " x ".join(str(side) for side in one.shape) or "scalar"
    checked = "; the bytes at hand are its own" if content is not None else ""
    typer.echo(f"{one.name} ({one.dtype}, {shape}) is tensor {read.index} of {read.size} of this model{checked}")
    typer.echo(f"BLAKE3 {one.content.hex()}")


def _measure(
    path: Path, digest: list[str] | None, *, main: str | None, follow: bool, as_files: bool, cache: bool
) -> ModelMeasured:
    from glasslog_lab.weights.hashing import Digest
    from glasslog_lab.weights.measuring import measure

    wanted = tuple(digest or _DIGESTS)
    if unknown := [one for one in wanted if one not in _DIGESTS]:
        fact = f"there is no digest {unknown[0]!r}"
        raise ArtifactError("MODEL-05", fact, f"choose from {', '.join(_DIGESTS)}")
    with _progress(path) as on_read:
        return measure(
            path,
            digests=cast("tuple[Digest, ...]", wanted),
            cache=_open_cache(cache),
            on_read=on_read,
            main=main,
            follow=follow,
            as_files=as_files,
        )


def _read_side(path: Path, *, main: str | None, follow: bool, cache: bool) -> Side:
    from glasslog_lab.weights.sides import read_side

    with _progress(path) as on_read:
        return read_side(path, main=main, follow=follow, cache=_open_cache(cache), on_read=on_read)


def _open_cache(wanted: bool) -> Cache | None:
    from glasslog_lab.weights.cache import Cache, find_cache_folder

    return Cache(find_cache_folder()) if wanted else None


def _hash_content(path: Path, name: str) -> bytes:
    """Return the BLAKE3 of the tensor's bytes: of the file itself, or of the tensor of this name in weights."""
    from glasslog_lab.weights.files import list_files, open_file
    from glasslog_lab.weights.hashing import hash_file
    from glasslog_lab.weights.measuring import measure
    from glasslog_lab.weights.refusals import quote, refuse

    with _progress(path) as on_read:
        measured = measure(path, digests={"tensors"}, on_read=on_read)
        if measured.tensors:
            found = next((one.content for one in measured.tensors if one.name == name), None)
            return found if found is not None else refuse("WEIGHTS-06", f"{quote(str(path))} has no {quote(name)}")
        listed = list_files(path)
        if len(listed) > 1:
            refuse("WEIGHTS-07", f"{quote(str(path))} holds no tensors of a model")
        with open_file(*next(iter(listed.items()))) as file:
            return cast("bytes", hash_file(file, (), {"blake3"}, on_read).blake3)


def _describe_tensor(tensor: Any) -> dict[str, Any]:  # noqa: ANN401  imported where it is needed
    return {
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "blake3": tensor.content.hex(),
    }


def _describe_file(path: Path) -> Resource:
    from glasslog.predicates.values import Resource
    from glasslog_lab.weights.files import list_files, open_file
    from glasslog_lab.weights.hashing import hash_file
    from glasslog_lab.weights.refusals import quote, refuse

    if path.is_dir():
        refuse("FILE-03", f"{quote(str(path))} is a folder")
    [(name, place)] = list_files(path).items()
    with open_file(name, place) as file:
        found = hash_file(file, (), {"sha256"}, lambda _count: None)
    return Resource(name=name, digest={"sha256": cast("bytes", found.sha256)})


def _describe_base(text: str) -> Resource:
    from glasslog.predicates.values import TENSORS, Resource

    try:
        root = bytes.fromhex(text) if len(text) == 64 else b""
    except ValueError:
        root = b""
    if root:
        return Resource(digest={TENSORS: root})
    return Resource(uri=text) if ":" in text else Resource(name=text)


@contextmanager
def _progress(path: Path) -> Generator[Callable[[int], None]]:
    total = _sum_sizes(path) if sys.stderr.isatty() else 0
    if total < PROGRESS_BYTES_MIN:
        yield lambda _count: None
        return
    from rich import progress
    from rich.console import Console

    columns = (progress.BarColumn(), progress.DownloadColumn(), progress.TransferSpeedColumn())
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda count: bar.advance(task, count)


def _sum_sizes(path: Path) -> int:
    """Return about how many bytes will be read; what cannot be said is told by whoever reads."""
    from glasslog_lab.weights.joining import list_model

    try:
        return sum(place.stat().st_size for place in list_model(path, follow=True).values())
    except (ArtifactError, OSError):
        return 0
