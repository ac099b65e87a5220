"""Progress of a workflow in one line a job: which, how many of how many, how long still."""

import sys
import time
from pathlib import Path

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

# What only repeats that a job failed.
NOISE = (
    "Exiting because",
    "Complete log",
    "At least one job",
    "WorkflowError:\nAt least one job",
    "RuleException:\nCalledProc",
)


class LogHandler(LogHandlerBase):
    """Prints job starts and ends to stdout; errors with the tail of the failed job's log."""

    def __post_init__(self) -> None:
        self.jobs: dict[int, tuple[str, float]] = {}
        self.total = self.done = 0
        self.trained, self.to_train = [], 0
        self.began = time.monotonic()

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def emit(self, record) -> None:
        event = getattr(record, "event", None)
        if event == LogEvent.RUN_INFO:
            self._plan(record.stats)
        elif event == LogEvent.JOB_INFO:
            self._start(record)
        elif event == LogEvent.JOB_FINISHED:
            self._finish(record.job_id)
        elif event == LogEvent.JOB_ERROR:
            self._fail(record)
        elif event in (LogEvent.ERROR, None) and record.levelname in ("ERROR", "CRITICAL"):
            text = record.getMessage().strip()
            if text and not text.startswith(NOISE):
                self._say(text)

    def _say(self, text: str) -> None:
        print(text, file=sys.stdout, flush=True)

    def _plan(self, stats: dict) -> None:
        if not self.total:
            self.total = stats.get("total", 0) - stats.get("all", 0)
            self.to_train = stats.get("run", 0)
            self._say(f"{self.total} jobs, {self.to_train} of them training runs")

    def _start(self, record) -> None:
        words = [record.rule_name, *(f"{value}" for value in record.wildcards.values())]
        if record.rule_name == "run":
            words = [
                record.wildcards["experiment"],
                f"fold {record.wildcards['fold']}, seed {record.wildcards['seed']}",
            ]
        self.jobs[record.jobid] = (" ".join(words), time.monotonic())
        if self.common_settings.dryrun and record.rule_name != "all":
            self._say(f"would run {' '.join(words)}")

    def _finish(self, job: int) -> None:
        if job not in self.jobs:
            return
        name, began = self.jobs.pop(job)
        if name == "all":
            return
        self.done += 1
        passed = time.monotonic() - self.began
        left = passed / self.done * max(0, self.total - self.done)
        share = f"[{self.done}/{self.total}]"
        self._say(f"{share:>9} {name:<44} {time.monotonic() - began:5.0f} s   about {_minutes(left)} left")

    def _fail(self, record) -> None:
        name = self.jobs.get(record.jobid, (record.rule_name, 0.0))[0]
        # The rule's own, then Slurm's
        tails = [(log, tail) for log in record.log or [] if (tail := _tail(log))]
        if tails and tails[0][1][-1].startswith(("error: ", "Error: ")):  # what a user can mend
            self._say(f"FAILED {name}: {tails[0][1][-1].partition(' ')[2]} (log: {tails[0][0]})")
            return
        reason = _reason(getattr(record, "rule_msg", None) or "")
        self._say(f"FAILED {name}" + (f": {reason}" if reason else ""))
        for log, tail in tails:
            for line in tail:
                self._say(f"    {line}")
            self._say(f"    (whole log: {log})")


def _tail(log: str) -> list[str]:
    """The last lines of a log, none where there is none."""
    try:
        with Path(log).open(encoding="utf-8", errors="replace") as lines:
            return [line.rstrip() for line in lines if line.strip()][-5:]
    except OSError:
        return []


def _reason(message: str) -> str:
    """What the cluster says of a job that it refused or ended, without the plugin's explanations."""
    reason = " ".join(message.split())
    for further in ("sbatch call:", "Detailed failure reason", "For further"):
        reason = reason.partition(further)[0].strip()
    return reason


def _minutes(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
