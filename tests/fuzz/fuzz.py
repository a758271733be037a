"""Calls everything that is public, and every operator, with arguments that fit, nearly fit, or do not.

    python tests/fuzz/fuzz.py                       # 30 seconds
    python tests/fuzz/fuzz.py --calls 100000        # the long run
    python tests/fuzz/fuzz.py --seed 7 --only 4711  # one call again, in this process

A call is a function of the seed and its number alone. Worker processes make the calls; the parent watches
them. What fails the run:

* a call that ends its process (a signal, an exit), or does not end: it is interrupted after LIMIT seconds, as by
  Ctrl-C, and must then stop within GRACE more;
* memory beyond what a worker may have at once, or that a worker does not give back;
* an argument that is not what it was, after an error (`inplace` is documented to write);
* an error other than ValueError, TypeError, NotImplementedError, a user's own, and out of memory for a result that
  is too large;
* of the errors of the Python package that junk brings, more than WORDS in other words than this library's.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import faulthandler
import inspect
import io
import json
import os
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any, Optional

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))

import calls  # noqa: E402
import values  # noqa: E402

LIMIT = 0.5
GRACE = 15.0  # generous: other work may share the cores
WORDS = 0.05
MEMORY = 3 << 30  # bytes that a worker may use beyond those it starts with
KEPT = 300 << 20  # bytes that it may have more at its end
ALLOWED = (ValueError, TypeError, NotImplementedError, values.UserError, MemoryError)
TOO_LARGE = re.compile(
    r"can't allocate memory|Storage size calculation overflowed|integer multiplication overflow"
)
#: A RuntimeError that unbiased_cd documents.
DOCUMENTED = "chains have not met"
#: What TorchScript says of an error inside a scripted energy or sampler.
IN_SCRIPT = "The following operation failed in the TorchScript interpreter"

#: What torch, pybind and Python say, as opposed to this library's "function: argument must be ..., got ...".
OTHER_WORDS = re.compile(
    r"Expected a value of type|Could not run|unsupported operand|has no attribute|dispatcher"
    r"|incompatible function arguments|not subscriptable|object is not|not supported between"
    r"|Tensor-likes|Cannot copy out of meta|can't convert|only integer tensors|Sizes of tensors"
    r"|must match the size|invalid literal|cannot be interpreted|\(position \d\)|got an unexpected"
    r"|takes \d|missing \d|INTERNAL ASSERT|Dimension out of range|bool value of Tensor"
)


class Interrupted(BaseException):
    """The alarm that ends a call that takes long, as Ctrl-C would."""


def _interrupt(*_: object) -> None:
    raise Interrupted


# --- One call -------------------------------------------------------------------------------------


def _snapshot(value: Any) -> Any:
    """What must not change, of an argument."""
    if isinstance(value, Tensor):
        version = None if value.is_inference() else value._version
        strided = value.layout is torch.strided and not value.is_meta and not value.is_nested
        content = value.detach().clone() if strided and not value.is_quantized else None
        return tuple(value.shape) if not value.is_nested else None, value.dtype, version, content
    if isinstance(value, (list, tuple)):
        return [_snapshot(item) for item in value]
    return None


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if one is None:
        return True
    if one[:3] != other[:3]:
        return False
    if one[3] is None or one[3].numel() == 0:
        return True
    return bool(((one[3] == other[3]) | ((one[3] != one[3]) & (other[3] != other[3]))).all())


def _in_our_words(call: calls.Call, error: BaseException) -> bool:
    """Whether the error is one sentence or two of this library's."""
    if isinstance(error, (values.UserError, MemoryError)):
        return True
    text = str(error)
    return len(text) < 600 and not OTHER_WORDS.search(text)


def _is_of_values(error: BaseException) -> bool:
    """Whether torch raised it inside an energy or a sampler of values.py: then it is the user's."""
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    return bool(files) and Path(files[-1]).name == "values.py"


def make(seed: int, index: int, keep_output: bool = False) -> dict[str, Any]:
    """Makes the call and says what came of it."""
    report: dict[str, Any] = {"index": index, "name": "?", "outcome": "returned", "fault": None}
    timer = signal.setitimer
    try:
        call = calls.make_call(seed, index)
    except Exception:
        report |= {"outcome": "unmade", "fault": traceback.format_exc()[-2500:]}
        return report
    report["name"] = call.name
    before = {name: _snapshot(value) for name, value in call.arguments.items()}
    begin = time.monotonic()
    error: Optional[BaseException] = None
    output = contextlib.nullcontext() if keep_output else contextlib.redirect_stdout(io.StringIO())
    try:
        timer(signal.ITIMER_REAL, LIMIT)
        try:
            with output:
                call()
        except Interrupted as interrupted:
            error = interrupted
        except BaseException as raised:  # noqa: BLE001  (SystemExit would end the worker)
            error = raised
        timer(signal.ITIMER_REAL, 0)
    except Interrupted:  # just after the end of the call
        pass
    report["seconds"] = time.monotonic() - begin
    if error is None:
        return report
    report["outcome"] = type(error).__name__
    if isinstance(error, Interrupted):
        return report
    report["python"] = not call.name.startswith("ops.")
    report["ours"] = _in_our_words(call, error)
    report["says"] = str(error)[:300]
    allowed = (
        isinstance(error, ALLOWED)
        or TOO_LARGE.search(str(error))
        or IN_SCRIPT in str(error)
        or DOCUMENTED in str(error)
        or _is_of_values(error)
    )
    if not allowed:
        report["fault"] = "".join(traceback.format_exception(error))[-2500:]
    if call.arguments.get("inplace", False) is not False:  # or what Python takes for true
        return report
    with contextlib.suppress(Interrupted):
        for name, value in call.arguments.items():
            if not _same(before[name], _snapshot(value)):
                report["fault"] = f"{name} was changed before {error!r}"
    return report


# --- A worker -------------------------------------------------------------------------------------


def _set_up_worker() -> None:
    torch.set_num_threads(1)
    faulthandler.enable()
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _interrupt)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _work(seed: int, first: int, step: int, n_calls: int, deadline: float, log: Path) -> None:
    """The calls first, first + step, ...; each is announced in `log` before it is made."""
    _set_up_worker()
    begun_with = None
    with open(log, "w") as file:
        for index in range(first, n_calls, step):
            if time.monotonic() > deadline:
                break
            print(json.dumps({"index": index}), file=file, flush=True)
            print(json.dumps(make(seed, index)), file=file, flush=True)
            if index // step == first // step + 200:
                begun_with = _resident()
        grown = _resident() - begun_with if begun_with else 0
        print(json.dumps({"done": True, "grown": grown}), file=file, flush=True)


class Worker:
    """A child process with its share of the calls, restarted after a call that ended it."""

    def __init__(self, seed: int, share: int, n_workers: int, n_calls: int, deadline: float) -> None:
        self.arguments = (n_workers, n_calls, deadline)
        self.seed, self.next = seed, share
        self.reports: list[dict[str, Any]] = []
        self.start()

    def start(self) -> None:
        descriptor, name = tempfile.mkstemp(suffix=".jsonl")
        os.close(descriptor)
        self.log = Path(name)
        self.errors = self.log.with_suffix(".stderr")
        self.pid = os.fork()
        if self.pid == 0:
            errors = open(self.errors, "w")  # noqa: SIM115  (the process ends with it)
            os.dup2(errors.fileno(), 2)
            code = 1
            try:
                step, n_calls, deadline = self.arguments
                _work(self.seed, self.next, step, n_calls, deadline, self.log)
                code = 0
            except BaseException:  # noqa: BLE001
                traceback.print_exc(file=errors)
                errors.flush()
            finally:
                os._exit(code)

    def _lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line[-1] == "}"]

    def is_running(self) -> bool:
        """Whether it has calls to make yet; ends one whose call does not end."""
        quiet = time.time() - self.log.stat().st_mtime
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        ended = None
        if pid == 0:
            if quiet < LIMIT + GRACE:
                return True
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            ended = f"did not stop within {quiet:.0f} s"
        lines = self._lines()
        self.reports += [line for line in lines if "name" in line or "done" in line]
        if lines and "done" in lines[-1]:
            self._clean()
            return False
        index = lines[-1]["index"] if lines else self.next
        ended = ended or f"ended its process with status {status}"
        text = self.errors.read_text()[-3000:]
        self.reports.append(
            {"index": index, "name": "?", "outcome": "ended", "fault": f"{ended}\n{text}"}
        )
        self._clean()
        self.next = index + self.arguments[0]
        self.start()
        return True

    def _clean(self) -> None:
        self.log.unlink()
        self.errors.unlink(missing_ok=True)


# --- The run ----------------------------------------------------------------------------------------


def run(seed: int, n_calls: int, seconds: float, n_workers: int) -> list[dict[str, Any]]:
    calls.targets()
    calls._scripted()
    torch.set_num_threads(1)
    deadline = time.monotonic() + seconds
    workers = [Worker(seed, share, n_workers, n_calls, deadline) for share in range(n_workers)]
    running = list(workers)
    while running:
        time.sleep(0.2)
        running = [worker for worker in running if worker.is_running()]
    return [report for worker in workers for report in worker.reports]


def faults_of(reports: list[dict[str, Any]]) -> list[str]:
    """What is wrong, one text each."""
    found = [
        f"call {r['index']}, {r['name']}: {r['fault']}" for r in reports if r.get("fault")
    ]
    late = [r for r in reports if r.get("seconds", 0) > LIMIT + GRACE]
    found += [f"call {r['index']}, {r['name']}: stopped after {r['seconds']:.1f} s" for r in late]
    found += [
        f"a worker had {r['grown'] >> 20} MiB more at its end"
        for r in reports
        if r.get("grown", 0) > KEPT
    ]
    refused = [r for r in reports if r.get("python")]
    others = [r for r in refused if not r["ours"]]
    if len(refused) > 500 and len(others) > WORDS * len(refused):
        found.append(f"{len(others)} of {len(refused)} refusals are not in this library's words")
    return found


def summary(reports: list[dict[str, Any]]) -> str:
    made = [r for r in reports if "name" in r]
    outcomes = collections.Counter(r["outcome"] for r in made)
    refused = [r for r in made if r.get("python")]
    others = sum(not r["ours"] for r in refused)
    slowest = max((r for r in made if "seconds" in r), key=lambda r: r["seconds"], default=None)
    lines = [
        f"{len(made)} calls of {len({r['name'] for r in made})} names: "
        + ", ".join(f"{n} {outcome}" for outcome, n in outcomes.most_common()),
        f"{others} of {len(refused)} errors of the Python package in other words than ours",
    ]
    if slowest:
        lines.append(f"slowest: {slowest['seconds']:.2f} s, call {slowest['index']} {slowest['name']}")
    return "\n".join(lines)


def _describe(value: Any) -> str:
    if isinstance(value, Tensor) and not value.is_nested:
        return f"tensor{tuple(value.shape)} {value.dtype} {value.layout} {value.device}"
    return repr(value)[:200]


def _only(seed: int, index: int) -> None:
    signal.signal(signal.SIGALRM, _interrupt)
    call = calls.make_call(seed, index)
    print(call.name)
    for name, value in call.arguments.items():
        print(f"    {name} = {_describe(value)}")
    sys.stdout.flush()
    print(json.dumps(make(seed, index, keep_output=True), indent=2))


def main() -> int:
    parser = argparse.ArgumentParser(description=inspect.cleandoc(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=None, help="default: from the clock")
    parser.add_argument("--calls", type=int, default=None, help="default: as many as fit 30 s")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", type=int, help="make this call alone, here")
    parser.add_argument("--words", action="store_true", help="show the errors in other words")
    options = parser.parse_args()
    seed = int(time.time()) if options.seed is None else options.seed
    if options.only is not None:
        _only(seed, options.only)
        return 0
    print(f"fuzz: seed {seed}", flush=True)
    seconds = 30.0 if options.calls is None else float("inf")
    reports = run(seed, options.calls or 10**9, seconds, options.workers)
    if options.words:
        for r in reports:
            if r.get("python") and not r["ours"]:
                print(r["index"], r["name"], r["outcome"], r["says"].replace("\n", " ")[:150])
    faults = faults_of(reports)
    for fault in faults:
        print(f"--- {fault}\n    again: python tests/fuzz/fuzz.py --seed {seed} --only <call>")
    print(summary(reports))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
