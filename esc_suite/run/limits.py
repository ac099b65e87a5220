"""What this process may use: the cores and the memory of its job or container, not of the machine around
it."""

import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
# Cores that a scheduler has given: Slurm (a task, a node), PBS, Grid Engine, LSF.
GIVEN_CORES = ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", "PBS_NCPUS", "NSLOTS", "LSB_DJOB_NUMPROC")
MIB = 2**20


def cores() -> int:
    """Cores to compute on: at most those that the process is bound to, its control groups allow, and its job
    was given."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = [bound, *(-(-quota // period) for quota, period in _quotas()), *_numbers(GIVEN_CORES)]
    return max(1, min(found))


def memory() -> int:
    """Bytes: of the machine, or the least that a control group or Slurm allows."""
    import psutil

    return min([psutil.virtual_memory().total, *(limit for limit, _ in _memory_limits()), *_slurm_memory()])


def free_memory() -> int:
    """Bytes that are free on the machine, and within each limit."""
    import psutil

    free = (limit - used for limit, used in _memory_limits())
    return max(0, min([psutil.virtual_memory().available, memory(), *free]))


def _groups(controller: str) -> Iterator[Path]:
    """Folders of this process's control groups, from the innermost out (version 2, then 1). In a container,
    whose own group is mounted as the root, the path that /proc names may not be there: the root is."""
    try:
        lines = OWN.read_text(encoding="utf-8").split("\n")
    except OSError:
        lines = []
    for root, kinds in ((CGROUPS, ("",)), (CGROUPS / controller, (controller,))):
        inner = Path("/")
        for line in lines:
            _, kind, path = line.split(":", 2) if line.count(":") > 1 else ("", "", "")
            if path.startswith("/") and set(kind.split(",")) & set(kinds):
                inner = Path(path)
        yield from (
            root / folder.relative_to("/") for folder in (inner, *inner.parents) if ".." not in folder.parts
        )


def _memory_limits() -> Iterator[tuple[int, int]]:
    """(limit, what is used of it and can't be given up) of each control group that has a limit, in bytes."""
    for group in _groups("memory"):
        used = _number(group / "memory.current") or _number(group / "memory.usage_in_bytes") or 0
        stat = _text(group / "memory.stat")
        files = _entry(stat, "total_inactive_file") or _entry(stat, "inactive_file")
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            if (limit := _number(group / name)) is not None:
                yield limit, max(0, used - files)


def _quotas() -> Iterator[tuple[int, int]]:
    """(quota, period) of processor time, in microseconds, of each control group that has a quota."""
    for group in _groups("cpu"):
        quota, _, period = _text(group / "cpu.max").partition(" ")
        if not quota:
            quota, period = _text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(quota) and int(period):  # "max", -1: no quota
            yield int(quota), int(period)


def _slurm_memory() -> Iterator[int]:
    yield from (mebibytes * MIB for mebibytes in _numbers(("SLURM_MEM_PER_NODE",)))
    for each, count in zip(_numbers(("SLURM_MEM_PER_CPU",)), _numbers(("SLURM_CPUS_ON_NODE",)), strict=False):
        yield each * count * MIB


def _numbers(names: tuple[str, ...]) -> list[int]:
    given = (os.environ.get(name, "") for name in names)
    return [int(text) for text in given if text.isdigit() and int(text)]


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdigit() and int(text) else None


def _entry(text: str, name: str) -> int:
    lines = (line.split() for line in text.splitlines())
    return next((int(words[1]) for words in lines if words[:1] == [name]), 0)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
