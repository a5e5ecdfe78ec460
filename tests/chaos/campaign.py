"""One unattended run against real nodes: ``python -m chaos.campaign --minutes 30 --json FILE`` (PYTHONPATH=tests).

A seed draws the order and the details of the faults; how long each takes is the machine's. The load never stops. It
begins and ends with a quiet time of the same length on processes of the same age, where memory and descriptors
are compared. Status 0: all held; 1: something did not, or it was interrupted before the ledgers were compared.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import trio

from chaos.faults import FAULTS, KILLS, LINKS, PARTITIONS, RARE
from chaos.history import History, Ledger, Usage, check_ledgers, median_usage, percentile
from chaos.hosts import why_not
from chaos.rig import settle
from chaos.world import World, faketime, open_world

FULL_MINUTES = 30.0
FULL_KILLS = 500
# How often each in 30 minutes: 4 validators and a lab make more than 500 kills and 100 partitions of it.
FULL: Mapping[str, int] = {
    "kill one": 25, "kill several": 12, "kill all": 26, "kill all, and again": 34,
    "split": 18, "isolate": 18, "one-way": 16, "ring": 9, "moving": 11, "flapping": 12, "unplug": 14,
    "split and kill": 20,
    "slow": 2, "lossy": 2, "narrow": 2, "torn": 2, "corrupted": 2, "stalled": 2, "half-open": 2, "foul": 2,
    "freeze": 8, "disk full": 3, "clock jump": 6, "roll back": 2, "wipe": 1, "stolen key": 1, "new version": 1,
}  # fmt: skip
assert FULL.keys() == FAULTS.keys()
EARLY = 0.8  # the part of the schedule in which all that is rare happens
RECOVERY_SECONDS = 10.0
GROWTH_PERCENT = 10.0
WARM_SECONDS = 180.0
LOOKS = 7
LOG_BYTES = 200_000
PROGRESS_SECONDS = 20.0


def schedule(rng: Random, minutes: float, kills: int | None, without: set[str]) -> Iterator[str]:
    """The full run's faults in a drawn order, in proportion to the minutes; then, while there is time, any."""
    part = minutes / FULL_MINUTES
    parts = dict.fromkeys(FAULTS, part) | dict.fromkeys(KILLS, part if kills is None else kills / FULL_KILLS)
    planned, rare = (
        [
            kind
            for kind in kinds
            if kind not in without
            for _ in range(max(kind in RARE, round(FULL[kind] * parts[kind])))
        ]
        for kinds in ([*KILLS, *PARTITIONS, *LINKS], [*RARE])
    )
    rng.shuffle(planned)
    rng.shuffle(rare)
    for place, kind in enumerate(rare):  # spread out, and none of them so late that a slow machine leaves it out
        planned.insert(int(EARLY * len(planned) * (place + 1) / len(rare)), kind)
    yield from planned
    common = [*PARTITIONS, *LINKS, *KILLS, "freeze"]
    while True:
        yield rng.choice(common)


@dataclass
class Campaign:
    """One run and what it found."""

    minutes: float
    validators: int
    kills: int | None
    seed: int
    folder: Path
    begun: float = field(default_factory=time.monotonic)
    done: Counter[str] = field(default_factory=Counter[str])
    failures: list[str] = field(default_factory=list[str])
    usage: list[Mapping[str, Usage]] = field(default_factory=list[Mapping[str, Usage]])
    world: World | None = None
    ledger: Ledger | None = None
    said: float = 0.0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.begun

    @property
    def quiet(self) -> float:
        """How long processes live undisturbed in the beginning and in the end, in seconds.

        Gossip remembers messages for 120 s: a younger process has not come to its working size.
        """
        return min(WARM_SECONDS, 6 * self.minutes)

    def say(self, line: str, *, now: bool = True) -> None:
        if now or self.seconds - self.said > PROGRESS_SECONDS:
            self.said = self.seconds
            print(f"chaos {self.seconds:6.0f} s  {line}", file=sys.stderr, flush=True)  # noqa: T201 - its progress

    async def run(self) -> None:
        """All of it; what goes wrong is kept in ``failures``."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._heed_signals, nursery.cancel_scope)
            try:
                await self._run()
            except Exception as error:  # noqa: BLE001 - whatever ends a campaign is what it was made for
                self._fail(error)
            nursery.cancel_scope.cancel()

    async def _heed_signals(self, scope: trio.CancelScope) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                self.failures.append("interrupted: the ledgers were not compared")
                scope.cancel()
                return

    def _fail(self, error: Exception) -> None:
        text = "".join(traceback.format_exception(error))
        (self.folder / "failure.txt").write_text(text)
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        after = self.world.history.recoveries[-1][0] if self.world and self.world.history.recoveries else "the start"
        again = f"python -m chaos.campaign --minutes {self.minutes:g} --validators {self.validators} --seed {self.seed}"
        self.failures.append(f"{type(error).__name__}: {error} (after {after}). Logs: {self.folder}. Again: {again}")
        self.say(self.failures[-1])

    async def _run(self) -> None:
        async with open_world(self.folder, validators=self.validators) as world:
            self.world = world
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.history.watch)
                async with world.load.running():
                    await world.load.wait_for(100)
                    await self._rest()
                    await self._spoil(world)
                    await world.kill(*world.targets)
                    await world.start(*world.targets)
                    await world.recovered("kill all")
                    await self._rest()
                await settle(world.fleet)
                nursery.cancel_scope.cancel()
            for node in world.testnet.nodes:
                await world.history.hear_accusations(node)
            self.ledger = await check_ledgers(world.testnet, world.history, world.load)

    async def _rest(self) -> None:
        """Let every process reach the same age under the same load, then look at what it uses: a median, for a
        collection of cycles or a batch at work moves a single look by some per cent."""
        assert self.world is not None
        while (youngest := self._youngest(self.world.history.usage())) < self.quiet:
            await trio.sleep(self.quiet - youngest)
        looks: list[Mapping[str, Usage]] = []
        for _ in range(LOOKS):
            looks.append(self.world.history.usage())
            await trio.sleep(self.quiet / (8 * LOOKS))
        self.usage.append({name: median_usage([look[name] for look in looks]) for name in looks[0]})

    def _youngest(self, usage: Mapping[str, Usage]) -> float:
        assert self.world is not None
        return min(usage[node.name].age for node in self.world.targets)

    async def _spoil(self, world: World) -> None:
        rng = Random(self.seed)
        without = set() if faketime() is not None else {"clock jump"}
        end = 60 * self.minutes - self.quiet - min(60.0, self.quiet)  # the rest at the end, and settling
        for kind in schedule(rng, self.minutes, self.kills, without):
            if self.seconds > end:
                return
            await FAULTS[kind](world, Random(rng.random()))
            self.done[kind] += 1
            seconds = await world.recovered(kind)
            self.say(f"{kind}: recovered in {seconds:.1f} s; {dict(world.counts)}", now=seconds > RECOVERY_SECONDS)
            await trio.sleep(rng.uniform(0.05, 0.4))

    # --- what is reported -------------------------------------------------------------------------

    def report(self) -> dict[str, object]:
        figures: dict[str, object] = {"seed": self.seed, "validators": self.validators, "labs": 2}
        tables: dict[str, list[list[object]]] = {}
        if self.world is not None:
            figures |= self._figures(self.world)
            tables = {
                "Faults and recovery to new finality, seconds": self._recovery(self.world.history),
                "Targets": self._targets(self.world.history),
                "Memory and descriptors at the same age": self._growth(),
                "Links": [["what", "times"], *([what, times] for what, times in self.world.links.seen.items())],
            }
        passed = not self.failures and self.ledger is not None
        seconds = round(self.seconds, 1)
        return {
            "part": "chaos", "passed": passed, "seconds": seconds, "figures": figures, "tables": tables,
            "failures": self.failures,
        }  # fmt: skip

    def _figures(self, world: World) -> dict[str, object]:
        recovery = world.history.recovery()
        evidence = () if self.ledger is None else self.ledger.evidence
        accused = sorted({f"{each.fault.value} of {each.accused}" for each in evidence})
        return {
            **world.counts,
            "recoveries": len(recovery),
            "recovery p50 s": round(percentile(recovery, 0.5), 2),
            "recovery p99 s": round(percentile(recovery, 0.99), 2),
            "recovery max s": round(percentile(recovery, 1), 2),
            "statements acknowledged": len(world.load.acknowledged),
            "statements a second": round(len(world.load.acknowledged) / self.seconds, 1),
            "calls unanswered or refused": world.load.refusals.total(),
            "heights": world.history.height,
            "leaves on every replica": 0 if self.ledger is None else self.ledger.size,
            "roots compared": len(world.history.roots | world.history.notes),
            "evidence in the ledger": ", ".join(accused) or "none",
            "clock jumps possible": "yes" if faketime() is not None else "no: libfaketime is not installed",
        }

    def _recovery(self, history: History) -> list[list[object]]:
        rows: list[list[object]] = [["fault", "times", "p50", "p99", "max"]]
        for kind in sorted({kind for kind, _ in history.recoveries}):
            seconds = history.recovery(kind)
            rows.append([kind, len(seconds), *(round(percentile(seconds, part), 2) for part in (0.5, 0.99, 1))])
        return rows

    def _growth(self) -> list[list[object]]:
        rows: list[list[object]] = [["node", "age s", "MiB before", "MiB after", "growth %", "fds before", "fds after"]]
        if len(self.usage) == 2:
            for name, before in self.usage[0].items():
                after = self.usage[1][name]
                growth = round(100 * (after.rss - before.rss) / before.rss, 1)
                sizes = [round(usage.rss / 2**20, 1) for usage in (before, after)]
                rows.append([name, round(after.age), *sizes, growth, before.descriptors, after.descriptors])
        return rows

    def _targets(self, history: History) -> list[list[object]]:
        """What the full run is to reach; a shorter one says how far it came."""
        assert self.world is not None
        counts, growth = self.world.counts, self._growth()[1:]
        p99 = percentile(history.recovery(), 0.99)
        wanted = {
            "kills": 500, "partitions": 100, "full disks": 3, "clock jumps": 5, "rollbacks": 2, "stolen keys": 1,
        }  # fmt: skip
        rows: list[list[object]] = [["target", "wanted", "reached", "held"]]
        rows += [[what, f">= {least}", counts[what], _yes(counts[what] >= least)] for what, least in wanted.items()]
        rows.append(["recovery p99 s", f"<= {RECOVERY_SECONDS:g}", round(p99, 2), _yes(p99 <= RECOVERY_SECONDS)])
        if growth:
            most = max(float(str(row[4])) for row in growth)
            more = max(int(str(row[6])) - int(str(row[5])) for row in growth)
            rows.append(["growth of anonymous memory %", f"<= {GROWTH_PERCENT:g}", most, _yes(most <= GROWTH_PERCENT)])
            # A connection being replaced, or a client's, is open for a moment: a leak would show hundreds.
            rows.append(["more descriptors", "<= 8", more, _yes(more <= 8)])
        return rows


def _yes(held: bool) -> str:
    return "yes" if held else "no"


def write_report(path: Path, report: Mapping[str, object]) -> None:
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    new.replace(path)


def keep_logs(folder: Path) -> None:
    """Of a failed run keep the ends of the logs; the ledgers are large."""
    for path in folder.glob("net/*/node.log"):
        (folder / f"{path.parent.name}.log").write_bytes(path.read_bytes()[-LOG_BYTES:])
    for path in (folder / "net", *folder.glob("version-*"), folder / "older"):
        shutil.rmtree(path, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos.campaign", description=__doc__)
    parser.add_argument("--minutes", type=float, default=FULL_MINUTES)
    parser.add_argument("--validators", type=int, default=4, choices=range(4, 8))
    parser.add_argument("--kills", type=int, help="about so many, whatever the minutes say")
    parser.add_argument("--seed", "--first-seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, help="taken and ignored: a run is as long as its minutes")
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="glasslog-chaos-"))
    campaign = Campaign(arguments.minutes, arguments.validators, arguments.kills, arguments.seed, folder)
    reason = why_not()
    if reason is not None:
        campaign.failures.append(f"{reason}: it takes root and network namespaces")
    else:
        what = f"{campaign.validators} validators, {campaign.minutes:g} minutes"
        campaign.say(f"seed {campaign.seed}, {what}, in {folder}")
        trio.run(campaign.run)
    report = campaign.report()
    write_report(arguments.json, report)
    if report["passed"]:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        keep_logs(folder)
    campaign.say("all held" if report["passed"] else f"failed, see {arguments.json}")
    return 0 if report["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
