"""The vocabulary: what is said can be read again, what is not as declared is refused, and the grammars agree."""

from __future__ import annotations

import json
import runpy
from contextlib import suppress
from dataclasses import FrozenInstanceError, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glasslog.codec import Map, Value
from glasslog.errors import DecodeError, ProtocolError
from glasslog.predicates.base import Predicate, Subject, list_subjects, statement_id
from glasslog.predicates.grammar import list_records, to_cddl, to_json_schema
from glasslog.predicates.model import Model
from glasslog.predicates.schema import doc, dump_record, list_members, load_record, rule_name
from glasslog.predicates.values import Commitment, Organisation, Period, Resource, Text, is_date, is_lei
from glasslog.predicates.vocabulary import BY_TYPE, PREDICATES, list_misspelt, read_statement
from glasslog.statement import STATEMENT_TYPE, Statement, decode_statement, encode_statement, from_json, to_json
from predicate_values import SPOILT, dates, list_paths, predicates, spoil, subjects

cddl = pytest.importorskip("cddl_verifier", reason="the CDDL tool `cddl-verifier` is not installed")
jsonschema = pytest.importorskip("jsonschema", reason="the JSON Schema validator `jsonschema` is not installed")

DEPLOY = Path(__file__).parents[2] / "deploy"
FOLDER = DEPLOY.parent / "specs" / "statements"
WRITTEN: dict[str, str] = runpy.run_path(str(DEPLOY / "statements.py"))["render"]()

many = settings(
    max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None
)
ONE = Subject("m", {"glasslogTensorsV1": bytes(32)})
MODEL = Model(name="m", format="safetensors", tensors=1, parameters=4)


@cache
def validators(type_uri: str) -> tuple[Any, Any]:
    kind = BY_TYPE[type_uri]
    return jsonschema.Draft202012Validator(to_json_schema(kind)), cddl.Validator(to_cddl(kind))


def fits_grammars(kind: type[Predicate], statement: Statement) -> tuple[bool, bool]:
    by_json, by_cddl = validators(kind.type_uri())
    fits_json = bool(by_json.is_valid(json.loads(to_json(statement))))
    return fits_json, bool(by_cddl.validate(encode_statement(statement), root_type="statement").valid)


def test_every_predicate_the_issue_of_a_lab_needs_is_there() -> None:
    assert {kind.NAME for kind in PREDICATES} == {
        "author", "model", "dataset", "rights", "api-usage", "training-run", "training-segment", "evaluation-bar",
        "evaluation", "release", "content-summary", "replay", "finding", "withdrawal", "audit-report",
        "compromise-notice", "disclosure",
    }  # fmt: skip
    assert len(BY_TYPE) == len(PREDICATES)
    for kind in PREDICATES:
        assert kind.__module__ == f"glasslog.predicates.{kind.NAME.replace('-', '_')}"
        assert list_members(kind)[-1].name == "evidence"
        names = [rule_name(record) for record in list_records(kind)]
        assert len(set(names)) == len(names)


@many
@given(predicates(PREDICATES), subjects)
def test_what_is_said_is_read_again_and_fits_the_grammars(said: Predicate, about: list[Subject]) -> None:
    statement = said.statement(*about)
    assert read_statement(statement) == said
    assert decode_statement(encode_statement(statement)) == statement
    assert list_subjects(from_json(to_json(statement))) == list(list_subjects(statement))
    assert read_statement(from_json(to_json(statement))) == said
    assert list_misspelt(statement) == []
    assert fits_grammars(type(said), statement) == (True, True)


@many
@given(predicates(PREDICATES), st.data())
def test_what_a_grammar_refuses_a_reader_refuses(said: Predicate, data: st.DataObject) -> None:
    statement = said.statement(ONE)
    predicate = statement["predicate"]
    assert isinstance(predicate, dict)
    path = data.draw(st.sampled_from([path for path in list_paths(predicate) if path]))
    spoilt = {**statement, "predicate": spoil(predicate, path, data.draw(st.sampled_from(SPOILT)))}
    try:
        encode_statement(spoilt)
    except DecodeError:
        return  # no statement at all
    with suppress(DecodeError):
        read_statement(spoilt)
        assert fits_grammars(type(said), spoilt) == (True, True)


@many
@given(predicates(PREDICATES), st.data())
def test_a_missing_member_is_named(said: Predicate, data: st.DataObject) -> None:
    statement = said.statement(ONE)
    required = [member.name for member in list_members(type(said)) if member.required]
    predicate: Map = dict(statement["predicate"])  # type: ignore[arg-type]  # it was made as a map
    if not required:
        return
    name = data.draw(st.sampled_from(required))
    del predicate[name]
    with pytest.raises(DecodeError, match=rf"PRED-02 predicate\.{name} is missing"):
        read_statement({**statement, "predicate": predicate})


@pytest.mark.parametrize(
    ("member", "value", "complaint"),
    [
        ("tensors", -1, "PRED-04 predicate.tensors is -1"),
        ("tensors", "1", "PRED-03 predicate.tensors is not an integer"),
        ("tensors", True, "PRED-03 predicate.tensors is not an integer"),
        ("name", "", "PRED-04 predicate.name has 0 characters"),
        ("name", "n" * 256, "PRED-04 predicate.name has 256 characters"),
        ("name", 1, "PRED-03 predicate.name is not a name"),
        ("digestsReused", 1, "PRED-03 predicate.digestsReused is neither true nor false"),
        ("baseModelRelation", "stolen", "PRED-04 predicate.baseModelRelation is 'stolen', allowed are finetune"),
        ("baseModel", {}, "PRED-03 predicate.baseModel is not a list"),
        ("baseModel", [{}], r"PRED-05 predicate.baseModel\[0\]: a resource has neither digest, uri nor name"),
        ("baseModel", ["gpt"], r"PRED-03 predicate.baseModel\[0\] is not an object"),
        ("baseModel", [{"name": "x"}] * 4097, "PRED-04 predicate.baseModel has 4097 elements"),
        ("contentRoot", {"digest": {}}, "PRED-04 predicate.contentRoot.digest has no digest"),
        ("contentRoot", {"digest": "00"}, "PRED-03 predicate.contentRoot.digest is not a set of digests"),
        ("license", "MIT; rm", "PRED-04 predicate.license is not an SPDX licence expression"),
        ("evidence", [{"uri": "nowhere"}], r"PRED-04 predicate.evidence\[0\].uri is not a URI"),
    ],
)
def test_bad_member_is_refused_in_one_clear_line(member: str, value: Value, complaint: str) -> None:
    statement = MODEL.statement(ONE)
    predicate: Map = {**statement["predicate"], member: value}  # type: ignore[dict-item]  # it was made as a map
    with pytest.raises(DecodeError, match=complaint):
        Model.read({**statement, "predicate": predicate})


def test_member_that_is_not_declared_is_carried_and_named() -> None:
    statement = MODEL.statement(ONE)
    predicate: Map = {**statement["predicate"], "licence": "MIT", "baseModel": [{"name": "x", "sha": "0"}]}  # type: ignore[dict-item]  # as above
    longer = {**statement, "predicate": predicate}
    assert read_statement(longer) == replace(MODEL, base_model=(Resource(name="x"),))
    assert list_misspelt(longer) == ["baseModel.sha", "licence"]
    assert decode_statement(encode_statement(longer)) == longer


def test_predicate_of_another_type_is_not_read_and_an_unknown_one_is_carried() -> None:
    other: Statement = {**MODEL.statement(ONE), "predicateType": "https://slsa.dev/provenance/v1"}
    assert read_statement(other) is None
    assert list_misspelt(other) == []
    with pytest.raises(DecodeError, match=r"PRED-01 the statement is of type https://slsa\.dev/provenance/v1"):
        Model.read(other)
    with pytest.raises(DecodeError, match=r"PRED-02 predicate\.name is missing"):
        Model.read({"_type": STATEMENT_TYPE, "subject": other["subject"], "predicateType": Model.type_uri()})
    with pytest.raises(DecodeError, match="STMT-07"):
        read_statement([])  # type: ignore[arg-type]  # what a stranger may send


def test_a_bad_predicate_is_refused_before_it_becomes_a_statement() -> None:
    with pytest.raises(DecodeError, match=r"PRED-04 Model\.name has 300 characters"):
        replace(MODEL, name="n" * 300).statement(ONE)
    with pytest.raises(DecodeError, match="STMT-09"):
        MODEL.statement()
    with pytest.raises(DecodeError, match="STMT-01"):
        replace(MODEL, base_model=(Resource(name="n" * 255),) * 300).statement(ONE)
    with pytest.raises(FrozenInstanceError):
        MODEL.name = "other"  # type: ignore[misc]  # that is what is tested


def test_id_is_that_of_the_canonical_bytes_whatever_the_order_of_members() -> None:
    statement = MODEL.statement(ONE)
    assert statement_id(from_json(to_json(statement))) == statement_id(dict(reversed(statement.items())))
    assert statement_id(statement) != statement_id(replace(MODEL, tensors=2).statement(ONE))


@pytest.mark.parametrize("lei", ["529900T8BM49AURSDO55", "5493001KJTIIGC8Y1R12", "213800WSGIIZCXF1P572"])
def test_lei_of_an_organisation_that_exists_is_accepted_and_no_neighbour_is(lei: str) -> None:
    assert is_lei(lei)
    for place, character in enumerate(lei[:18]):
        other = "1" if character == "0" else "0"
        assert not is_lei(lei[:place] + other + lei[place + 1 :])


@given(dates)
def test_days_of_the_calendar_are_dates(day: str) -> None:
    assert is_date(day)


@pytest.mark.parametrize("day", ["2026-02-29", "1900-02-29", "2026-04-31", "2026-00-10", "2026-13-01", "2026-01-00"])
def test_other_days_are_not(day: str) -> None:
    assert not is_date(day)
    assert is_date("2000-02-29")
    assert is_date("2024-02-29")


def test_a_period_does_not_end_before_it_starts() -> None:
    with pytest.raises(ValueError, match="before it starts"):
        Period(start="2026-02-02", end="2026-02-01")


def test_a_bar_is_whole_or_sealed() -> None:
    bar = BY_TYPE["urn:glasslog:predicate:evaluation-bar:v1"]
    with pytest.raises(ValueError, match="a bar needs"):
        bar()
    sealed: Value = {"commitment": {"digest": {"glasslogSealedV1": bytes(32)}}, "openBy": "2027-01-01"}
    statement = bar.read(_statement(bar, {"sealed": sealed})).statement(ONE)
    assert statement["predicate"] == {"sealed": sealed}
    with pytest.raises(DecodeError, match="PRED-05 predicate: a sealed bar says nothing beside its seal"):
        bar.read(_statement(bar, {"sealed": sealed, "metric": "accuracy"}))


def _statement(kind: type[Predicate], predicate: Map) -> Statement:
    subject: Value = [{"name": "m", "digest": {"sha256": bytes(32)}}]
    return {"_type": STATEMENT_TYPE, "subject": subject, "predicateType": kind.type_uri(), "predicate": predicate}


GOOD_NUMBERS = ("0", "-0.5", "12.50", "1" * 41)
BAD_NUMBERS = ("1e5", "01", "1.", ".5", "NaN", "+1", "1" * 60, "\u0663")


@pytest.mark.parametrize(
    ("number", "fits"), [*((one, True) for one in GOOD_NUMBERS), *((one, False) for one in BAD_NUMBERS)]
)
def test_decimals_are_plain(number: str, fits: bool) -> None:
    bar = BY_TYPE["urn:glasslog:predicate:api-usage:v1"]
    volume: Value = [{"unit": "tokens", "amount": number}]
    usage: Map = {"agreement": {"name": "a"}, "side": "user", "period": {"start": "2026-01-01"}, "volumes": volume}
    if fits:
        bar.read(_statement(bar, usage))
    else:
        with pytest.raises(ProtocolError, match=r"PRED-04 predicate\.volumes\[0\]\.amount"):
            bar.read(_statement(bar, usage))


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_specs_are_what_the_declarations_make(name: str) -> None:
    assert (FOLDER / name).read_text() == WRITTEN[name], "write them anew: deploy/statements.py"


def test_specs_hold_nothing_else() -> None:
    assert {path.name for path in FOLDER.iterdir()} == WRITTEN.keys()


def test_declaration_that_makes_no_sense_is_our_mistake() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Undocumented:
        name: Text

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Unkind:
        name: float = field(metadata=doc("A float rounds."))

    with pytest.raises(TypeError, match="name has no doc"):
        list_members(Undocumented)
    with pytest.raises(TypeError, match="no kind of member"):
        list_members(Unkind)


def test_shared_records_are_read_as_they_are_written() -> None:
    organisation = Organisation(name="Institute", jurisdiction="DE")
    commitment = Commitment(digest={"sha256": bytes(32)})
    assert load_record(Organisation, dump_record(organisation), "o") == organisation
    assert load_record(Commitment, dump_record(commitment), "c") == commitment
