"""Vassals whose files lie on NFS: what others change there takes effect, and a server that is away holds nobody up."""

import contextlib
import os
import pathlib
import subprocess

from host import *

EXPORTED = pathlib.Path("/srv/exported")
MOUNTED = pathlib.Path("/mnt/far")
# The client that the server waits for after its start is the one that it knew.
SETTINGS = "[nfsd]\nvers3=n\ngrace-time=10\nlease-time=10\n"


class Nfs(Case):
    """The server of this directory is this machine's kernel, and its client as well."""

    def setUp(self):
        super().setUp()
        run("depmod", check=False)
        for module in ("nfsd", "nfsv4"):
            if run("modprobe", module, check=False).returncode:
                self.skipTest(f"this kernel has no {module}")
        EXPORTED.mkdir(exist_ok=True)
        EXPORTED.chmod(0o755)
        for name in EXPORTED.iterdir():
            name.unlink()
        pathlib.Path("/etc/nfs.conf.d/check.conf").write_text(SETTINGS)
        pathlib.Path("/etc/exports").write_text(f"{EXPORTED} 127.0.0.1(rw,no_root_squash,no_subtree_check,fsid=0,insecure)\n")
        systemctl("restart", "nfs-server")
        MOUNTED.mkdir(exist_ok=True)
        run("mount", "-t", "nfs4", "127.0.0.1:/", str(MOUNTED))
        self.addCleanup(self.unmount)
        self.options(f"--emperor {MOUNTED}")

    def unmount(self):
        systemctl("stop", UNIT, check=False)
        systemctl("start", "nfs-server")
        run("umount", "-f", "-l", str(MOUNTED))

    def test_what_changes_on_the_server_takes_effect(self):
        self.vassal("a", 8001, place=EXPORTED)
        self.start()
        get(8001)
        until("the reason", lambda: f"{MOUNTED} are noticed by the rescan only" in self.said())
        self.vassal("b", 8002, place=EXPORTED)
        until("a new one", lambda: answers(8002))
        before = masters("b.ini")
        (APPS / "b.py").write_text(HELLO.replace("hello", "changed"))
        (EXPORTED / "b.ini").touch()
        until("its new code", lambda: "changed" in (answers(8002) or ""))
        self.assertEqual(masters("b.ini"), before)
        (VASSALS / "link.ini").symlink_to(MOUNTED / "target")
        self.vassal("target", 8003, place=EXPORTED)
        (EXPORTED / "target.ini").rename(EXPORTED / "target")
        until("one by a link", lambda: answers(8003))
        (EXPORTED / "b.ini").unlink()
        until("its end", lambda: "b.ini" not in states())
        self.assertEqual(states(), {"a.ini": "up", "link.ini": "up"})

    def test_a_server_that_is_away_holds_nobody_up(self):
        self.vassal("far", 8001, place=EXPORTED)
        self.vassal("near", 8002)
        self.start()
        before = get(8001)
        systemctl("stop", "nfs-server")
        with Clients(8001, 8002) as clients:
            until("the news", lambda: "does not answer: what lies there waits" in self.said())
            (APPS / "near.py").write_text(HELLO.replace("hello", "changed"))
            (VASSALS / "near.ini").touch()
            until("new code", lambda: "changed" in get(8002))
            self.assertEqual(states(), {"far.ini": "up", "near.ini": "up"})
            self.vassal("later", 8003)
            until("a new one", lambda: answers(8003))
            systemctl("reload", UNIT, check=False)
            self.vassal("back", 8004, place=EXPORTED)
            systemctl("start", "nfs-server")
            until("the news", lambda: "answers again" in self.said())
            until("what came meanwhile", lambda: answers(8004))
            clients.more()
        self.assertEqual(clients.failed, [])
        self.assertEqual(states(), dict.fromkeys(["far.ini", "near.ini", "later.ini", "back.ini"], "up"))
        print(f"         {clients.count} requests meanwhile, {spread(clients.waits)}")
        systemctl("stop", "nfs-server")
        until("the news", lambda: self.said().count("what lies there waits") > 1)
        systemctl("stop", UNIT, timeout=60)
        self.assertEqual(processes(), [])
