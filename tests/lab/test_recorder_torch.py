"""The recorder on real PyTorch trainings of scikit-learn's digits (specs/custody.md). Skipped without torch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from glasslog.custody import merge_ranks
from glasslog_lab.recorder.digests import content_root
from glasslog_lab.recorder.journal import read_journal
from glasslog_lab.recorder.launch import launch_environment
from glasslog_lab.recorder.replay import Replayed, replay_run

torch: Any = pytest.importorskip("torch", reason="torch is not installed: no real training is recorded")
datasets: Any = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed: there are no digits")
pytestmark = [pytest.mark.processes, pytest.mark.filterwarnings("ignore")]

from glasslog_lab.recorder.torch import attach, gather_roots, list_tensors  # noqa: E402  only where torch is there

ROOT = Path(__file__).parents[2]
BATCH = 64
TRAIN = """
import os, signal, sys, torch
from sklearn.datasets import load_digits

def build():
    torch.manual_seed(5)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(288, 10)
    )

def batches(first, last):
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(digits.target)
    for step in range(first, last + 1):
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(step))[:64]
        yield step, images[order], labels[order]

def train(first, last, folder, kill=0):
    model = build()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    if first > 1:
        kept = torch.load(f"{folder}/{first - 1}.pt")
        model.load_state_dict(kept[0]); optimizer.load_state_dict(kept[1])
    for step, images, labels in batches(first, last):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        if step % 5 == 0:
            torch.save((model.state_dict(), optimizer.state_dict()), f"{folder}/{step}.pt")
        if step == kill:
            from pathlib import Path
            from glasslog_lab.recorder.journal import read_journal
            while read_journal(Path(folder, "records", "run.journal")).end.last_step < step:
                pass  # until what is queued is written
            os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    train(int(sys.argv[2]), int(sys.argv[3]), sys.argv[1], int(sys.argv[4]))
    sys.exit(7)
"""


def load_training() -> dict[str, Any]:
    scope: dict[str, Any] = {"__name__": "training"}
    exec(TRAIN, scope)
    return scope


def loss_of(model: Any, images: Any, labels: Any) -> Any:
    return torch.nn.functional.cross_entropy(model(images), labels)


def test_the_bare_hook_records_every_step_and_its_root_is_the_checkpoints(tmp_path: Path) -> None:
    training = load_training()
    model = training["build"]()
    optimizer = torch.optim.Adam(model.parameters())
    attached = attach(tmp_path, model, gradients=True, optimizer_state=True, strict=True, every=5)
    for step, images, labels in training["batches"](1, 12):
        optimizer.zero_grad()
        loss = loss_of(model, images, labels)
        loss.backward()
        attached.values["loss"] = loss.item()
        optimizer.step()
        if step == 10:
            attached.checkpoint()
    line = attached.close()
    end = read_journal(tmp_path / "run.journal").end
    assert (end.counts.steps, end.counts.checkpoints, end.every_update_committed) == (12, 1, True), line
    assert end.params == content_root(list_tensors(model.state_dict()))
    optimizer.step()
    assert read_journal(tmp_path / "run.journal").end == end, "the hooks are off"


def test_scaler_skips_accumulation_and_two_optimizers(tmp_path: Path) -> None:
    training = load_training()
    model = training["build"]()
    optimizers = [torch.optim.SGD(model[0].parameters(), 0.1), torch.optim.SGD(model[4].parameters(), 0.1)]
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    attached = attach(tmp_path, model, strict=True)
    for step, images, labels in training["batches"](1, 6):
        scaler.scale(loss_of(model, images[:32], labels[:32])).backward()
        scaler.scale(loss_of(model, images[32:], labels[32:])).backward()
        if step == 3:
            model[4].weight.grad[0, 0] = float("inf")
        for one in optimizers:
            scaler.step(one)
            one.zero_grad()
        scaler.update()
    attached.close()
    counts = read_journal(tmp_path / "run.journal").end.counts
    assert (counts.steps, counts.skips, counts.gaps) == (11, 1, 0)


def launch(folder: Path, records: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = folder / "train.py"
    script.write_text(TRAIN)
    program = (
        "import typer; from glasslog_lab.cli.record import record; app = typer.Typer(); app.command()(record); app()"
    )
    command = [sys.executable, "-c", program, "--folder", str(records), "--every", "4", "--", sys.executable]
    return subprocess.run(
        [*command, str(script), str(folder), *arguments], capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


def test_record_launches_kills_resumes_and_replays(tmp_path: Path) -> None:
    records = tmp_path / "records"
    killed = launch(tmp_path, records, "1", "40", "18")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    known = read_journal(records / "run.journal").end.last_step
    assert known == 18
    done = launch(tmp_path, records, "16", "40", "0")
    assert done.returncode == 7, done.stderr
    assert "steps, 0 skipped, 0 gaps, 1 resumed" in done.stderr
    journal = read_journal(records / "run.journal")
    assert journal.end.last_step == 40
    assert journal.end.counts.redone == known - 15
    assert journal.end.every_update_committed

    training = load_training()

    def replay(first: int, last: int) -> Iterator[Replayed]:
        model = training["build"]()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        kept_at = (first - 1) // 5 * 5
        if kept_at:
            kept = torch.load(tmp_path / f"{kept_at}.pt")
            model.load_state_dict(kept[0])
            optimizer.load_state_dict(kept[1])
        yield Replayed(kept_at, content_root(list_tensors(model.state_dict())))
        for step, images, labels in training["batches"](kept_at + 1, last):
            optimizer.zero_grad()
            loss_of(model, images, labels).backward()
            optimizer.step()
            yield Replayed(step, content_root(list_tensors(model.state_dict())))

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        outcome = replay_run(journal, replay, beacon=b"a later root", count=4)
    finally:
        torch.set_num_threads(threads)
    assert outcome.state == "exact", outcome


def test_a_launched_training_passes_a_signal_and_the_users_own_sitecustomize(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "sitecustomize.py").write_text("import builtins\nbuiltins.own_was_run = True\n")
    environment = launch_environment({**os.environ, "PYTHONPATH": str(tmp_path / "own")}, {"folder": str(tmp_path)})
    code = "import os, signal; assert own_was_run; os.kill(os.getpid(), signal.SIGTERM)"
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=False, capture_output=True)
    assert done.returncode == -signal.SIGTERM, done.stderr
    assert json.loads(environment["GLASSLOG_RECORD"]) == {"folder": str(tmp_path)}


def test_the_names_are_those_of_the_module_inside_what_wraps_it(tmp_path: Path) -> None:
    training = load_training()
    model = training["build"]()
    wrapped = torch.nn.DataParallel(model)
    optimizer = torch.optim.SGD(wrapped.parameters(), 0.1)
    attached = attach(tmp_path, wrapped, strict=True)
    for _, images, labels in training["batches"](1, 2):
        optimizer.zero_grad()
        loss_of(wrapped, images, labels).backward()
        optimizer.step()
    attached.close()
    end = read_journal(tmp_path / "run.journal").end
    assert (end.counts.steps, end.params) == (2, content_root(list_tensors(model.state_dict())))


def test_the_hugging_face_callback_records_every_step(tmp_path: Path) -> None:
    transformers: Any = pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    from glasslog_lab.recorder.huggingface import callback

    training = load_training()

    class Model(torch.nn.Module):  # type: ignore[misc]  # untyped here
        def __init__(self) -> None:
            super().__init__()
            self.net = training["build"]()

        def forward(self, images: Any, labels: Any) -> dict[str, Any]:
            logits = self.net(images)
            return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}

    (_, images, labels), *_ = training["batches"](1, 1)
    rows = [{"images": image, "labels": label} for image, label in zip(images, labels, strict=True)]
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path / "out"), max_steps=9, per_device_train_batch_size=8, gradient_accumulation_steps=2,
        save_steps=4, logging_steps=3, report_to=[], use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    model = Model()
    own = callback(tmp_path / "records", strict=True)
    transformers.Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[own]).train()
    end = read_journal(tmp_path / "records" / "run.journal").end
    assert (end.counts.steps, end.closed, end.every_update_committed) == (9, True, True)
    assert end.counts.checkpoints >= 2
    assert end.params == content_root(list_tensors(model.state_dict()))


def test_the_lightning_callback_records_every_step(tmp_path: Path) -> None:
    lightning: Any = pytest.importorskip("lightning.pytorch", reason="lightning is not installed")
    from glasslog_lab.recorder.lightning import callback

    training = load_training()

    class Module(lightning.LightningModule):  # type: ignore[misc]  # untyped here
        def __init__(self) -> None:
            super().__init__()
            self.net = training["build"]()

        def training_step(self, batch: Any, _number: int) -> Any:
            return loss_of(self.net, *batch)

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    (_, images, labels), *_ = training["batches"](1, 1)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, labels), batch_size=8)
    own = callback(tmp_path / "records", strict=True)
    trainer = lightning.Trainer(
        max_epochs=2, accelerator="cpu", callbacks=[own], logger=False, default_root_dir=tmp_path,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Module(), loader)
    end = read_journal(tmp_path / "records" / "run.journal").end
    assert (end.counts.steps, end.closed) == (16, True)


RANK = """
import sys, torch
from torch import distributed
from glasslog_lab.recorder.torch import gather_roots
rank = int(sys.argv[1])
distributed.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=2)
print(b"".join(gather_roots(bytes([rank]) * 32)).hex())
"""


def test_two_ranks_gather_one_root(tmp_path: Path) -> None:
    assert gather_roots.__doc__
    path = os.pathsep.join([str(ROOT / "protocol"), str(ROOT / "node")])
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(rank), str(tmp_path / "meet")], stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": path, "GLOO_SOCKET_IFNAME": "lo"},
        )
        for rank in (0, 1)
    ]  # fmt: skip
    said = [rank.communicate()[0].strip() for rank in ranks]
    assert said == [(bytes(32) + b"\1" * 32).hex()] * 2
    assert merge_ranks([bytes(32), b"\1" * 32])


def test_jax_and_optax_under_jit(tmp_path: Path) -> None:
    jax: Any = pytest.importorskip("jax", reason="jax is not installed")
    optax: Any = pytest.importorskip("optax", reason="optax is not installed")
    from glasslog_lab.recorder import Recorder
    from glasslog_lab.recorder.jax import list_arrays, wrap

    recorder = Recorder(tmp_path, strict=True)
    optimizer = wrap(optax.sgd(0.1), recorder)
    weights = {"w": jax.numpy.ones((3, 2)), "b": jax.numpy.zeros(())}
    state = optimizer.init(weights)

    @jax.jit  # type: ignore[untyped-decorator]  # jax is not installed where types are checked
    def step(weights: Any, state: Any) -> Any:
        gradients = jax.grad(lambda one: (one["w"].sum() + one["b"]) ** 2)(weights)
        updates, state = optimizer.update(gradients, state, weights)
        return optax.apply_updates(weights, updates), state

    for _ in range(7):
        weights, state = step(weights, state)
    jax.effects_barrier()
    recorder.close()
    end = read_journal(tmp_path / "run.journal").end
    assert (end.counts.steps, end.params) == (7, content_root(list_arrays(weights)))
