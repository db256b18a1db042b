"""systemd's descriptor store: the vassals' sockets outlast the emperor, and nothing else does."""

import os
import signal

from host import *


def stored():
    return int(shown("NFileDescriptorStore"))


class Store(Case):
    def asleep(self, *names):
        until("their sleep", lambda: [states().get(f"{name}.ini") for name in names] == ["asleep"] * len(names))

    def test_a_killed_emperor_refuses_nobody_and_who_slept_sleeps_on(self):
        self.vassal("idle", 8001, HELLO, "idle = 2")
        self.vassal("busy", 8002)
        self.start()
        get(8001)
        self.asleep("idle")
        until("what is kept", lambda: stored() == 2)
        for _ in range(2):
            before = emperor()
            # So long that somebody has to wait for the next one.
            self.drop_in("RestartSec=3")
            os.kill(before, signal.SIGKILL)
            until("no emperor", lambda: emperor() == 0)
            self.assertTrue(get(8001).startswith("hello"))
            self.assertNotIn(emperor(), (0, before))
            self.asleep("idle")
        launched = self.said().count("launched")
        before = emperor()
        os.kill(before, signal.SIGKILL)
        until("another emperor", lambda: emperor() not in (0, before))
        self.asleep("idle")
        self.assertEqual(self.said().count("launched"), launched)
        until("what is kept", lambda: stored() == 2)

    def test_what_is_given_up_is_kept_no_longer(self):
        self.vassal("a", 8001)
        self.vassal("b", 8002)
        self.start()
        until("what is kept", lambda: stored() == 2)
        (VASSALS / "a.ini").unlink()
        until("the end of it", lambda: stored() == 1 and "a.ini" not in states())
        # Its port is free.
        self.vassal("c", 8001)
        until("another one there", lambda: answers(8001))
        until("what is kept", lambda: stored() == 2)
        systemctl("stop", UNIT)
        self.assertEqual(stored(), 0)
        self.assertIsNone(answers(8002))

    def test_a_restart_costs_no_request_and_an_upgrade_loses_nothing(self):
        self.vassal("a", 8001, HELLO, "processes = 2")
        self.vassal("b", 8002, HELLO, "http = 127.0.0.1:8003")
        self.start()
        until("what is kept", lambda: stored() == 3)
        with Clients(8001, 8001, 8002, 8003) as clients:
            for _ in range(2):
                before = get(8001)
                systemctl("restart", UNIT)
                clients.more()
                self.assertNotEqual(get(8001), before)
                liege("upgrade", "--wait")
                clients.more()
            kill_emperor()
            clients.more()
        self.assertEqual(clients.failed, [])
        # Not what an emperor has asked with that was killed just then.
        until("what is kept", lambda: stored() == 3)
