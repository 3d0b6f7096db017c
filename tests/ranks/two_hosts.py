"""Two machines on one: network namespaces with a cable (veth) between them, and a process of a launch in each."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

from ranks.launching import environment, launch_words

from trainer.recipe_files import shipped_recipes

ADDRESSES = ("10.77.0.1", "10.77.0.2")
CONFIG = shipped_recipes("accelerate")["multi_node"]
PATIENCE = 120  # seconds of a run


def why_not():
    """What two namespaces need and this machine has not; nothing where all is there."""
    if shutil.which("ip") is None:
        return "needs ip (iproute2)"
    return None if os.geteuid() == 0 else "needs root, for network namespaces"


class TwoHosts:
    """Namespaces with one end of the cable each; `close` takes them away again."""

    def __init__(self):
        self.names = [f"deit-lt-{os.getpid()}-{host}" for host in range(2)]
        self.ends = [f"lt{os.getpid() % 10**6}-{host}" for host in range(2)]
        first, second = self.names
        _ip("netns", "add", first)
        _ip("netns", "add", second)
        _ip("link", "add", self.ends[0], "netns", first, "type", "veth", "peer", self.ends[1], "netns", second)
        for name, end, address in zip(self.names, self.ends, ADDRESSES, strict=True):
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", end)
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "link", "set", end, "up")

    def start(self, host, folder, *words):
        """One process of `deit-lt` on a host, with its output in the file `log` of a folder, where it runs."""
        ranks = ["--num_processes=2", f"--machine_rank={host}", f"--main_process_ip={ADDRESSES[0]}"]
        launch = launch_words("--config_file", CONFIG, *ranks, "-m", "trainer.commands", *words)
        with Path(folder, f"log{host}").open("w") as log:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.names[host], *launch],
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                # gloo would take the address of the machine's name, which is one of the loopback.
                env={**environment(), "GLOO_SOCKET_IFNAME": self.ends[host]},
            )

    def run(self, folders, *words):
        """A run on both hosts to its end; their exit codes and what they printed."""
        processes = [self.start(host, folder, *words) for host, folder in enumerate(folders)]
        try:
            codes = [process.wait(PATIENCE) for process in processes]
        finally:
            self.kill(0)
            self.kill(1)
        return codes, [Path(folder, f"log{host}").read_text() for host, folder in enumerate(folders)]

    def kill(self, host):
        """End all processes of a host at once, as when it loses its power."""
        told = subprocess.run(["ip", "netns", "pids", self.names[host]], capture_output=True, text=True, check=True)
        for pid in told.stdout.split():
            os.kill(int(pid), signal.SIGKILL)

    def close(self):
        """Take the hosts away."""
        for host, name in enumerate(self.names):
            self.kill(host)
            _ip("netns", "del", name)


def _ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)
