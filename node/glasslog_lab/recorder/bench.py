"""What recording costs: a paired run, steps with and without it by turns (specs/custody.md, C2).

``python -m glasslog_lab.recorder.bench``: a 4 M parameter transformer at 16 x 128 tokens on the CPU, level L2.
Needs torch. Ratios only; each pair is one step of either kind, in random order.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import tempfile
import time
from importlib import import_module
from typing import Any

from glasslog_lab.recorder.torch import attach

BATCH, TOKENS, WIDTH, LAYERS, VOCABULARY = 16, 128, 256, 4, 2_048


def build() -> Any:  # noqa: ANN401  torch is not there to name the type
    """Return the model: about 4.2 M parameters."""
    torch: Any = import_module("torch")

    layer = torch.nn.TransformerEncoderLayer(WIDTH, 4, 4 * WIDTH, dropout=0.0, batch_first=True)
    return torch.nn.Sequential(
        torch.nn.Embedding(VOCABULARY, WIDTH),
        torch.nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False),
        torch.nn.Linear(WIDTH, VOCABULARY),
    )


def measure(pairs: int = 30, **options: Any) -> dict[str, Any]:  # noqa: ANN401  the options of ``attach``
    """Return the medians of both kinds of step in CPU and wall seconds, and their paired ratios less one."""
    torch: Any = import_module("torch")

    torch.manual_seed(0)
    model = build()
    optimizer = torch.optim.AdamW(model.parameters())
    seconds = dict[str, list[tuple[float, float]]](plain=[], recorded=[])
    with tempfile.TemporaryDirectory() as folder:
        attached = attach(folder, model, **options)
        for number in range(pairs + 2):
            for kind in random.sample(["plain", "recorded"], 2):
                attached.enabled = kind == "recorded"
                data = torch.randint(VOCABULARY, (BATCH, TOKENS))
                wall, cpu = time.perf_counter(), time.process_time()
                optimizer.zero_grad()
                output = model(data)
                torch.nn.functional.cross_entropy(output.flatten(0, 1), data.flatten()).backward()
                optimizer.step()
                if number >= 2:
                    seconds[kind].append((time.process_time() - cpu, time.perf_counter() - wall))
        line = attached.close()
    pairs_of = list(zip(seconds["recorded"], seconds["plain"], strict=True))
    return {
        "parameters": sum(one.numel() for one in model.parameters()),
        "pairs": pairs,
        "cpuOverhead": statistics.median(one[0] / other[0] for one, other in pairs_of) - 1,
        "wallOverhead": statistics.median(one[1] / other[1] for one, other in pairs_of) - 1,
        "plainCpuSeconds": statistics.median(one[0] for one in seconds["plain"]),
        "line": line,
    }


def main() -> None:
    """Print one JSON object."""
    sys.stdout.write(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 30)) + "\n")


if __name__ == "__main__":
    main()
