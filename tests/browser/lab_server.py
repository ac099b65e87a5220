"""`jupyter lab` on loopback with a free port, a token and folders of its own, which touches nothing of the
user's."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

READY_S = 120
SETTINGS = {  # this server's defaults
    "@jupyterlab/notebook-extension:tracker": {
        "windowingMode": "none"
    },  # every cell is in the page, also off screen
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
}


class LabServer:
    """Context manager. `root`: the folder it shows; `home`: an empty folder for its settings and log; `url`,
    `token`."""

    def __init__(self, root: Path, home: Path):
        self.root, self.home, self.token = root, home, secrets.token_hex(16)
        self.log = home / "server.log"
        settings = home / "app_settings"
        settings.mkdir(parents=True)
        (settings / "overrides.json").write_text(json.dumps(SETTINGS))

    def __enter__(self):
        command = [
            sys.executable, "-m", "jupyterlab", "--no-browser", "--ServerApp.ip=127.0.0.1",
            "--ServerApp.port=0",
            f"--IdentityProvider.token={self.token}", f"--ServerApp.root_dir={self.root}",
            f"--LabApp.app_settings_dir={self.home / 'app_settings'}", "--LabApp.expose_app_in_browser=True",
            "--LabApp.extension_manager=readonly", "--ServerApp.terminals_enabled=False",
            *(["--allow-root"] if os.geteuid() == 0 else []),
        ]  # fmt: skip
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, env=environment(self.home, self.root), cwd=self.root, stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def _wait(self):
        """Until it answers; it writes its address to a file named after its process."""
        info, start = self.home / "runtime" / f"jpserver-{self.process.pid}.json", time.monotonic()
        while time.monotonic() - start < READY_S:
            if self.process.poll() is not None:
                raise RuntimeError(f"jupyter lab ended with {self.process.returncode}:\n{self.tail()}")
            try:
                self.url = json.loads(info.read_text())["url"].rstrip("/")
                self.api("GET", "/api/status")
                return
            except (json.JSONDecodeError, OSError):
                time.sleep(0.1)
        raise RuntimeError(f"jupyter lab not ready after {READY_S} s:\n{self.tail()}")

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-4000:].replace(self.token, "<token>")

    def api(self, method: str, path: str):
        request = urllib.request.Request(
            self.url + path, method=method, headers={"Authorization": f"token {self.token}"}
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    def end_sessions(self):
        """Kernels outlive the page that started them."""
        for session in self.api("GET", "/api/sessions"):
            self.api("DELETE", f"/api/sessions/{session['id']}")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)  # it ends its kernels, then itself
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)


def environment(home: Path, project: Path) -> dict:
    """Environment of a process that works on `project` and reads no Jupyter settings but those in `home`."""
    alien = ("JUPYTER", "JPY_", "ESC_")
    proxies = ("http_proxy", "https_proxy", "all_proxy", "mplbackend")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(alien) and k.lower() not in proxies}
    places = {
        "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime",
        "IPYTHONDIR": "ipython", "JUPYTERLAB_SETTINGS_DIR": "user-settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    }  # fmt: skip
    own = {name: str(home / folder) for name, folder in places.items()}
    return clean | own | {"JUPYTER_PREFER_ENV_PATH": "1", "PYTHONPATH": str(project)}
