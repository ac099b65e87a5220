"""Progress of a long run: a bar in JupyterLab, a line an epoch under papermill, all of it in log.txt."""

import os
import sys
import time
from pathlib import Path

LINES = 30  # printed at most; log.txt has every epoch


class Progress:
    """Reports epochs of one run, as a context. `total`: epochs; `done`: epochs finished before a resume."""

    def __init__(self, log: Path, total: int, done: int = 0, quiet: bool = False):
        from tqdm.auto import tqdm

        self.total, self.start, self.began = total, done, time.monotonic()
        self.log = log.open("a", encoding="utf-8")
        watched = "ipykernel" in sys.modules and "PAPERMILL" not in os.environ  # a person in JupyterLab
        self.prints = not quiet and not watched
        self.bar = tqdm(total=total, initial=done, unit="epoch", disable=quiet or not watched)

    def say(self, text: str, shown: bool = True) -> None:
        """A line to the log and, where `shown` and nobody watches a bar, to the notebook."""
        self.log.write(text + "\n")
        self.log.flush()
        if shown and self.prints:
            print(text, flush=True)

    def epoch(self, number: int, row: dict, clips_per_second: float) -> None:
        """One finished epoch, `number` counted from 1; `row` is its line of the history."""
        left = (time.monotonic() - self.began) / max(1, number - self.start) * (self.total - number)
        text = f"loss {row['loss']:.3f}"
        if row["valid_accuracy"] is not None:
            text += f"  accuracy {row['valid_accuracy']:.1f}%"
        if row["mask_rate"] is not None:
            text += f"  mask rate {row['mask_rate']:.2f}"
        text += f"  {clips_per_second:.0f} clips/s  {left:.0f} s left"
        self.bar.update(1)
        self.bar.set_postfix_str(text)
        every = max(1, -(-self.total // LINES))
        self.say(f"epoch {number}/{self.total}  {text}", shown=number % every == 0 or number == self.total)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bar.close()
        self.log.close()
