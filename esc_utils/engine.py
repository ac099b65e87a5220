"""Papermill engine `esc`: an unknown or mistyped parameter is an error before anything runs, a UserError is one line, and
kernels talk over IPC sockets, so that parallel runs never race for ports."""

import logging
import os
import shutil
import tempfile

import click
from jupyter_client.manager import AsyncKernelManager
from papermill.engines import NBClientEngine

from .config import RunConfig, from_notebook
from .errors import UserError


class IpcKernelManager(AsyncKernelManager):
    """A kernel manager whose five channels are Unix sockets in a short folder of their own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.folder = tempfile.mkdtemp(prefix="esc-")
        self.transport = "ipc"
        self.ip = os.path.join(self.folder, "k")  # noqa: PTH118 (a socket name, not a path)

    def cleanup_connection_file(self) -> None:
        super().cleanup_connection_file()
        shutil.rmtree(self.folder, ignore_errors=True)


class EscEngine(NBClientEngine):
    """Checks parameters, then executes like papermill's own engine."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, **kwargs):
        nb = nb_man.nb
        passed = dict(nb.metadata.get("papermill", {}).get("parameters", {}))
        try:
            _check(passed, _declared(nb))
        except UserError as error:
            raise click.ClickException(str(error)) from None
        os.environ["PAPERMILL"] = "1"
        kwargs.setdefault("kernel_manager_class", "esc_utils.engine.IpcKernelManager")
        result = super().execute_managed_notebook(nb_man, kernel_name, **kwargs)
        _one_line_errors(nb, debug=bool(passed.get("debug")))
        return result


def _declared(nb) -> set[str]:
    """Names that the notebook's own parameters cell sets."""
    import ast

    names = set()
    for cell in nb.cells:
        if cell.cell_type == "code" and "parameters" in cell.metadata.get("tags", []):
            for node in ast.parse(cell.source).body:
                if isinstance(node, ast.Assign):
                    names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def _check(passed: dict, declared: set[str]) -> None:
    import difflib

    known = declared | set(RunConfig.model_fields)
    for name in passed:
        if name not in known:
            close = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f", did you mean '{close[0]}'?" if close else ": params/base.yaml lists all that exist"
            raise UserError(f"unknown parameter '{name}'{hint}")
    knobs = {name: value for name, value in passed.items() if name in RunConfig.model_fields}
    if "experiment" in declared | set(passed):
        from_notebook(knobs)


def _one_line_errors(nb, debug: bool) -> None:
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error" and output.ename == "UserError" and not debug:
                raise click.ClickException(output.evalue)


class _Known(logging.Filter):
    """Papermill warns of every parameter that the parameters cell does not list; all knobs of RunConfig are meant to be."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        return not (text.startswith("Passed unknown parameter: ") and text.rpartition(" ")[2] in RunConfig.model_fields)


logging.getLogger("papermill").addFilter(_Known())
