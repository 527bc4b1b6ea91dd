"""A real SLURM of one node, with daemons, keys, ports and state of its own in one folder; any user may start it."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

DAEMONS = ["munged", "slurmctld", "slurmd"]
PLACES = ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"]

# config_overrides: a node may claim more than it has. MinJobAge: squeue, the only status command without accounting,
# must know finished jobs long enough. GPUs are only counted, on a device file that every machine has.
SLURM_CONF = """
ClusterName=triaxis
SlurmctldHost={host}
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SchedulerParameters=sched_interval=2,batch_sched_delay=0,bf_interval=2
SlurmdParameters=config_overrides
GresTypes=gpu
MinJobAge=3600
KillWait=5
ReturnToService=2
NodeName=node NodeHostname={host} NodeAddr=127.0.0.1 Port={node_port} CPUs=8 RealMemory=64000 Gres=gpu:1
PartitionName=main Nodes=node Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """What keeps a cluster from starting here; None if nothing does."""
    found = [name for name in [*DAEMONS, "sbatch", "scancel"] if _where(name) is None]
    return f"SLURM is not installed here: no {', '.join(found)}" if found else None


def _where(program: str) -> str | None:
    return shutil.which(program, path=os.pathsep.join([os.environ["PATH"], *PLACES]))


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


class Cluster:
    """Use as a context: the daemons stop, and running jobs with them, however it ends."""

    def __init__(self, folder: Path) -> None:
        """folder: empty, with a short path: it will hold a socket."""
        self.folder = folder
        self.processes: list[subprocess.Popen] = []
        for name in ("state", "spool", "bin"):
            (folder / name).mkdir()
        controller_port, node_port = _free_ports(2)
        (folder / "slurm.conf").write_text(
            SLURM_CONF.format(
                host=socket.gethostname().split(".")[0],
                user=getpass.getuser(),
                folder=folder,
                controller_port=controller_port,
                node_port=node_port,
            )
        )
        (folder / "gres.conf").write_text("NodeName=node Name=gpu File=/dev/null\n")
        (folder / "munge.key").write_bytes(os.urandom(1024))
        (folder / "munge.key").chmod(0o400)
        # Job steps lose SLURM_CONF, PATH they keep: what they call must find the configuration by itself.
        srun = folder / "bin" / "srun"
        srun.write_text(f'#!/bin/sh\nexec env SLURM_CONF={folder}/slurm.conf {_where("srun")} "$@"\n')
        srun.chmod(0o755)
        self.environment = {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": os.pathsep.join([str(folder / "bin"), os.environ["PATH"], *PLACES]),
        }

    def __enter__(self) -> "Cluster":
        try:
            self._start("munged", "--foreground", "--force", f"--key-file={self.folder}/munge.key",
                        f"--socket={self.folder}/munge.socket", f"--pid-file={self.folder}/munged.pid",
                        f"--log-file={self.folder}/munged.log", f"--seed-file={self.folder}/munged.seed")  # fmt: skip
            self._wait("munged", (self.folder / "munge.socket").exists)
            self._start("slurmctld", "-D", "-c")
            self._start("slurmd", "-D", "-c", "-N", "node")
            self._wait("the node", lambda: self.run("sinfo", "-h", "-o", "%t") == "idle")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Cancel what runs, then end the daemons, those that this object started and no others."""
        if len(self.processes) == len(DAEMONS):
            self.cancel("--user", getpass.getuser())
            self._wait("cancelled jobs", lambda: not self.queue(), required=False)
        while self.processes:
            process = self.processes.pop()
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, program: str, *arguments: str) -> None:
        with (self.folder / f"{program}.out").open("wb") as output:
            self.processes.append(
                subprocess.Popen(
                    [_where(program) or program, *arguments],
                    env=os.environ | self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                )
            )

    def _wait(self, what: str, ready: Callable[[], bool], seconds: float = 30, *, required: bool = True) -> None:
        until = time.monotonic() + seconds
        while not ready():
            dead = [process.args for process in self.processes if process.poll() is not None]
            if dead or time.monotonic() > until:
                if not required:
                    return
                said = "\n".join(path.read_text(errors="replace")[-2000:] for path in self.folder.glob("*.out"))
                raise RuntimeError(f"{what} did not come up in {seconds:.0f} s; ended: {dead}\n{said}")
            time.sleep(0.1)

    def run(self, *command: str) -> str:
        """What a SLURM command printed, whatever its exit status."""
        result = subprocess.run(
            command, env=os.environ | self.environment, text=True, stdout=subprocess.PIPE, check=False
        )
        return result.stdout.strip()

    def queue(self, *options: str) -> list[list[str]]:
        """[job, state, comment] of each job that waits or runs; the comment names rule and wildcards."""
        lines = self.run("squeue", "-h", "-o", "%i|%t|%k", *options).splitlines()
        return [line.split("|", 2) for line in lines]

    def cancel(self, *options: str) -> None:
        self.run("scancel", *options)

    def jobs(self) -> list[dict[str, str]]:
        """Every job since the start, finished ones too: the fields of `scontrol show job`."""
        jobs = []
        for line in self.run("scontrol", "--oneliner", "show", "job").splitlines():
            if not line.startswith("JobId="):
                continue
            fields = [field.partition("=") for field in line.split(" ")]
            jobs.append({name: value for name, _, value in fields})
        return jobs
