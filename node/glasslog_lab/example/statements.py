"""What the example states to the log: from the data sets, before the first step, to the release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from hashlib import sha256
from pathlib import Path

from glasslog.custody import Segment
from glasslog.predicates.base import Subject, statement_id
from glasslog.predicates.dataset import Dataset
from glasslog.predicates.evaluation import Evaluation
from glasslog.predicates.evaluation_bar import EvaluationBar
from glasslog.predicates.release import Release
from glasslog.predicates.values import HEAD, ORDER, RECORDS, STATEMENT, TENSORS, Commitment, File, Resource
from glasslog.statement import Statement
from glasslog_lab.datasets.measure import measure_dataset
from glasslog_lab.example import perceptron
from glasslog_lab.example.training import NAME
from glasslog_lab.recorder.journal import Journal
from glasslog_lab.recorder.statements import PUBLISHABLE, RunFacts, run_statement, segment_statement
from glasslog_lab.weights.measuring import measure
from glasslog_lab.weights.statement import make_model
from glasslog_lab.weights.statement import state_model as state_weights

SOURCE = "https://doi.org/10.24432/C50P49"
LICENCE = "CC-BY-4.0"
METRIC = "accuracy"
THRESHOLD = Decimal("0.85")
DAYS_DUE = 30


@dataclass(frozen=True, slots=True)
class Stated:
    """A statement, and how others refer to what it is about."""

    statement: Statement
    resource: Resource

    @property
    def by_id(self) -> Resource:
        """How others refer to the statement itself."""
        return Resource(digest={STATEMENT: statement_id(self.statement)})


def state_dataset(path: Path, index: Path, description: str) -> Stated:
    """Measure a table of digits and state what it is."""
    measured = measure_dataset(path, index)
    digest = {RECORDS: measured.records_root}
    name = f"handwritten digits, {path.stem}"
    said = Dataset(
        name=name,
        identifier=SOURCE,
        description=description,
        records_root=Commitment(digest=digest),
        order_root=_commit(ORDER, measured.order_root or b""),
        blinded=measured.blinded,
        record_form=measured.record_form,
        records=measured.records,
        bytes=measured.size,
        files=tuple(File(name=one.name, bytes=one.size, digest={"sha256": one.sha256}) for one in measured.files),
        source_category=("public-dataset",),
        sources=(Resource(name="Optical Recognition of Handwritten Digits, test set", uri=SOURCE),),
        license=LICENCE,
        generation_method="Bitmaps of handwritten forms, reduced to 8 x 8 (NIST's programs).",
        personal_data="pseudonymised",
    )
    files = [Subject(one.name, {"sha256": one.sha256}) for one in measured.files]
    return Stated(said.statement(Subject(name, digest), *files), Resource(name=name, digest=digest))


def state_bar(run: Resource, test: Resource) -> Stated:
    """State what accuracy the model will have to reach; made before the first step."""
    said = EvaluationBar(
        metric=METRIC, comparator="gte", threshold=str(THRESHOLD), dataset=test, harness=harness(),
        due=(today() + timedelta(days=DAYS_DUE)).isoformat(), note="Measured once, after the last step.",
    )  # fmt: skip
    return Stated(said.statement(Subject(NAME, _digest(run))), run)


def state_run(journal: Journal, train: Resource) -> Stated:
    """State what the run is committed to before its first step; nothing of it is a secret here."""
    start = journal.chain.start
    facts = RunFacts(publish=PUBLISHABLE, datasets=(train,), dependencies=(harness(),))
    return Stated(run_statement(start, facts), Resource(name=start.name, digest={HEAD: start.run}))


def state_segment(journal: Journal, segment: Segment, records: Sequence[bytes]) -> Stated:
    """State what one segment of the run's chain is."""
    name = f"{NAME}, segment {segment.index + 1}"
    statement = segment_statement(journal.chain.start, segment, records)
    return Stated(statement, Resource(name=name, digest={HEAD: segment.head}))


def state_model(path: Path) -> Stated:
    """State what the weights in a file are, as ``glasslog attest model`` does."""
    measured = measure(path)
    model = make_model(measured, name=path.stem, architecture="perceptron, one hidden layer", license=LICENCE)
    statement, _ = state_weights(model)
    return Stated(statement, Resource(name=path.stem, digest={TENSORS: measured.content_root or b""}))


def state_evaluation(model: Resource, bar: Stated, test: Resource, right: int, total: int) -> Stated:
    """State the accuracy that was measured, and whether the bar was met."""
    value = (Decimal(right) / total).quantize(Decimal("0.0001"), ROUND_DOWN)
    said = Evaluation(
        metric=METRIC, value=str(value), comparator="gte", threshold=str(THRESHOLD), passed=value >= THRESHOLD,
        sample_size=str(total), dataset=test, harness=harness(), bar=bar.by_id, assurance_level="self-reported",
        measured=now(),
    )  # fmt: skip
    return Stated(said.statement(Subject(model.name or NAME, _digest(model))), model)


def state_release(model: Stated, run: Resource, evaluation: Stated, file: Path) -> Stated:
    """State that the weights are released, and what they come from."""
    said = Release(
        purl=f"pkg:generic/{NAME}@1", version="1", model=model.by_id, runs=(run,), evaluations=(evaluation.by_id,),
        license=LICENCE, placed=today().isoformat(), access="weights",
    )  # fmt: skip
    digest = sha256(file.read_bytes()).digest()
    subjects = [Subject(NAME, _digest(model.resource)), Subject(file.name, {"sha256": digest})]
    return Stated(said.statement(*subjects), model.resource)


def harness() -> Resource:
    """Return the program, by the digest of the file that does the arithmetic."""
    path = Path(perceptron.__file__)
    return Resource(name=f"glasslog_lab/example/{path.name}", digest={"sha256": sha256(path.read_bytes()).digest()})


def now() -> str:
    """Return the time as statements have it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def today() -> date:
    """Return the day, in UTC."""
    return datetime.now(UTC).date()


def _commit(name: str, digest: bytes) -> Commitment:
    return Commitment(digest={name: digest})


def _digest(resource: Resource) -> dict[str, bytes | str]:
    return dict(resource.digest or {})
