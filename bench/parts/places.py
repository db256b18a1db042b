"""Where things are: the clone, the binary, the virtualenv with the peers, the programs of the machine."""

import os
import pathlib
import platform
import shutil
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench"
APPS = BENCH / "apps"
VENV = BENCH / ".venv"
LIEGE = pathlib.Path(os.environ.get("LIEGE", ROOT / "target/release/liege"))
PEERS = ["uwsgi==2.0.31", "granian>=2.7,<3", "gunicorn>=23", "django>=5,<6"]


def peers():
    """Makes the virtualenv with the peers; its bin folder."""
    if not (VENV / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
        subprocess.run([VENV / "bin/python", "-m", "pip", "install", "--quiet", *PEERS], check=True)
        (VENV / "complete").touch()
    return VENV / "bin"


def need(program, package):
    """The path of a program, or the end with advice."""
    found = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if not found:
        sys.exit(f"{program} is not installed: apt-get install {package}")
    return found


def need_liege():
    """The end with advice when the binary is not there."""
    if not LIEGE.exists():
        sys.exit(f"{LIEGE} is not there: cargo build --release")
    return LIEGE


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def versions(*lines):
    """What the numbers belong to: date, machine, versions."""
    model = next(
        (line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return [
        f"- date: {time.strftime('%Y-%m-%d %H:%M %Z')}",
        f"- machine: {os.cpu_count()} × {model}, {memory_gb:.0f} GB, Linux {platform.release()}",
        f"- liege: {commit}",
        *lines,
    ]


def package_versions():
    listing = subprocess.run(
        [VENV / "bin/python", "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True, check=True
    ).stdout
    wanted = {"uwsgi", "granian", "gunicorn", "django"}
    found = [line.replace("==", " ") for line in listing.splitlines() if line.split("==")[0].lower() in wanted]
    python = subprocess.run([VENV / "bin/python", "-V"], capture_output=True, text=True, check=True).stdout.strip()
    return f"- peers: {', '.join(found)}; {python}"


def keep(name, lines):
    """Writes a report to bench/results and to standard output."""
    path = BENCH / "results" / f"{time.strftime('%Y-%m-%d')}-{name}.md"
    path.parent.mkdir(exist_ok=True)
    text = "\n".join(lines) + "\n"
    path.write_text(text)
    print(text + f"\nkept in {path.relative_to(ROOT)}")


def table(header, rows):
    """A markdown table."""
    return [
        "| " + " | ".join(header) + " |",
        "|" + "---|" * len(header),
        *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows),
    ]
