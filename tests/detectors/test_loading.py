"""What is compiled is compiled before the first window waits for it."""

import subprocess
import sys

WATCHES = """
import sys
from importlib import import_module
from pkgutil import iter_modules

import detectors.native
from deploy.bench.core import runs
from deploy.bench.workload import workload
from schemas.configuration import Configuration, Source
from streams.pipeline import TOPIC, Pipeline

package = detectors.native
modules = [import_module(f"{package.__name__}.{m.name}") for m in iter_modules(package.__path__)]

def compiled():
    return {
        f"{module.__name__}.{name}": [str(one) for one in function.signatures]
        for module in modules
        for name, function in vars(module).items()
        if hasattr(function, "signatures")
    }

pipeline = Pipeline(Configuration(sources=(Source(topic=TOPIC),)))
before = compiled()
for run in runs(TOPIC, 1, workload(60_000, 1, rate=40, services=3)):
    pipeline.process(run)
assert all(before[name] for name in sys.argv[1:]), before
assert compiled() == before, [one for one in compiled().items() if one not in before.items()]
"""


def test_nothing_is_compiled_once_windows_come() -> None:
    called = (
        "latency.score",
        "latency.learn",
        "novelty.learn",
        "seasonal.learn",
        "invariants.look",
    )
    names = [f"detectors.native.{name}" for name in called]
    subprocess.run([sys.executable, "-c", WATCHES, *names], check=True)
