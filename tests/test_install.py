"""`make install` mends an environment that was moved, copied or broke; a person's settings do not reach
it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from esc_suite.run import install


@pytest.fixture
def venv(tmp_path, monkeypatch):
    """An environment that looks whole: this test's Python, and a papermill that names it."""
    folder = tmp_path / ".venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    (folder / "bin" / "papermill").write_text(f"#!{folder}/bin/python\nimport papermill\n")
    for name, value in (
        ("VENV", folder),
        ("PYTHON", folder / "bin" / "python"),
        ("STAMP", folder / "installed"),
    ):
        monkeypatch.setattr(install, name, value)
    return folder


def test_a_whole_environment_has_no_fault_and_none_is_no_fault_either(venv):
    assert install.fault() == ""
    venv.rename(venv.with_name("elsewhere"))
    assert install.fault() == ""


@pytest.mark.parametrize(
    "script", ["#!/gone/away/bin/python3.11\n", "#!/bin/sh\n'''exec' '/a folder/bin/python' \"$0\"\n"]
)
def test_an_environment_of_another_place_is_named(venv, script):
    (venv / "bin" / "papermill").write_text(script)
    assert install.fault() in ("belongs to /gone/away", "belongs to /a folder")


def test_a_checkout_behind_a_link_is_the_same_place(venv, tmp_path):
    (tmp_path / "link").symlink_to(venv)
    (venv / "bin" / "papermill").write_text(f"#!{tmp_path}/link/bin/python\n")
    assert install.fault() == ""


@pytest.mark.parametrize("broken", ["removed", "dangling", "no program", "failing"])
def test_a_python_that_does_not_start_is_a_fault(venv, broken):
    python = venv / "bin" / "python"
    python.unlink()
    if broken == "dangling":
        python.symlink_to(venv / "python3.9")
    if broken in ("no program", "failing"):
        python.write_text("#!/bin/sh\nexit 3\n" if broken == "failing" else "cut off")
        python.chmod(0o755)
    assert install.fault() == "is broken (its Python or pip does not start)"


def test_a_file_in_its_place_is_a_fault(venv):
    venv.rename(venv.with_name("kept"))
    venv.write_text("")
    assert install.fault() == "is no folder"


def test_a_link_is_never_removed(venv):
    venv.rename(venv.with_name("kept"))
    venv.symlink_to(venv.with_name("kept"))
    with pytest.raises(install.Failed, match=r"is a link, .*delete \.venv"):
        install.make("is broken")
    assert venv.is_symlink() and (venv / "bin" / "papermill").exists()


def test_settings_of_the_network_are_kept_and_others_are_not(venv, monkeypatch, tmp_path):
    own = {
        "PIP_USER": "1",
        "PIP_TARGET": "/t",
        "PIP_INDEX_URL": "https://mirror.example/simple",
        "UV_HTTP_TIMEOUT": "9",
    }
    own |= {
        "UV_SYSTEM_PYTHON": "1",
        "PYTHONHOME": "/h",
        "VIRTUAL_ENV": "/v",
        "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"),
    }
    (tmp_path / "pip.conf").write_text(
        "[install]\nprefix = /p\nno-deps = true\n[global]\nuser = true\nretries = 7\n"
    )
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    found = install.network_environment()
    assert found["PIP_INDEX_URL"] == found["UV_DEFAULT_INDEX"] == own["PIP_INDEX_URL"]
    assert found["PIP_RETRIES"] == "7" and found["UV_HTTP_TIMEOUT"] == "9"
    left = {
        "PIP_USER",
        "PIP_TARGET",
        "PIP_PREFIX",
        "PIP_NO_DEPS",
        "UV_SYSTEM_PYTHON",
        "PYTHONHOME",
        "VIRTUAL_ENV",
    }
    assert not left & set(found)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_step_is_one_line_and_leaves_no_program(number, tmp_path):
    """The step: a program that starts another one, both of which tell of an interrupt at length."""
    inner = f"import pathlib, time; pathlib.Path({str(tmp_path / 'begun')!r}).touch(); time.sleep(600)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    code = Path(install.__file__).read_text().replace(
        "        install()\n", f"        step('it', '', sys.executable, '-c', {outer!r})\n"
    )  # fmt: skip
    script = tmp_path / "install.py"
    script.write_text(
        code.replace("Path(__file__).resolve().parent.parent.parent", f"Path({str(tmp_path)!r})")
    )
    words = [sys.executable, str(script)]

    def heard():
        signal.signal(number, signal.SIG_DFL)  # whoever runs the tests may ignore it, as nohup does

    own = {"start_new_session": True, "preexec_fn": heard}
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, **own) as running:
        try:
            until(lambda: (tmp_path / "begun").exists())
            os.killpg(running.pid, number)
            said = running.communicate(timeout=60)[1]
        except BaseException:
            os.killpg(running.pid, signal.SIGKILL)
            raise
    assert said == "error: interrupted: run make install again, it goes on\n" and running.returncode == 1
    until(lambda: not any(str(tmp_path / "begun") in " ".join(line) for line in commands()))


def until(holds) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def commands() -> list[list[str]]:
    return [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
