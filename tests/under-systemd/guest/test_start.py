"""The start: when it is over, what systemd shows of it, and the watchdog."""

import os
import pathlib
import re
import shutil
import signal
import threading

from host import *


class Start(Case):
    def test_the_examples_serve_when_systemctl_returns(self):
        shutil.copytree("/checks/examples", VASSALS, dirs_exist_ok=True)
        for file in VASSALS.glob("*.ini"):
            file.write_text(file.read_text() + "uid = nobody\n")
        self.addCleanup(systemctl, "disable", UNIT)
        systemctl("enable", "--now", UNIT)
        for port in (8001, 8002, 8003):
            get(port)
        self.assertEqual(shown("ActiveState", "SubState", "NRestarts"), ["active", "running", "0"])
        self.assertRegex(shown("StatusText"), "^3 of 3 vassals serve")
        text = systemctl("status", UNIT)
        for part in ("Active: active (running)", "Status: \"3 of 3 vassals serve", "(liege)"):
            self.assertIn(part, text)

    def test_it_is_not_ready_before_a_slow_app_and_names_it(self):
        slow = f"import os, time\nwhile not os.path.exists('{APPS}/go'): time.sleep(0.05)\n{HELLO}"
        self.vassal("quick", 8001)
        self.vassal("slow", 8002, slow)
        starting = threading.Thread(target=self.start)
        starting.start()
        try:
            until("the name of who is starting", lambda: "slow.ini" in shown("StatusText"))
            self.assertEqual(shown("ActiveState"), "activating")
            until("an answer of the quick one", lambda: answers(8001))
            self.assertEqual(shown("ActiveState"), "activating")
        finally:
            (APPS / "go").touch()
            starting.join()
        get(8002)
        self.assertEqual(shown("ActiveState"), "active")

    def test_a_broken_app_does_not_fail_the_start(self):
        self.vassal("good", 8001)
        self.vassal("broken", 8002, "import nothing_of_this_name\n", "need-app = true")
        self.start()
        get(8001)
        self.assertEqual(shown("ActiveState"), "active")
        self.assertIn("1 of 2 vassals serve", shown("StatusText"))
        self.assertIn("No module named 'nothing_of_this_name'", self.said())

    def test_an_app_that_would_be_root_is_refused_with_the_reason(self):
        self.vassal("root", 8001, owner="root")
        self.start()
        until("the refusal", lambda: "root-apps" in self.said())
        self.assertIsNone(answers(8001))
        self.assertEqual(shown("ActiveState"), "active")

    def test_nobody_can_do_to_the_host_what_no_app_needs(self):
        self.vassal("a", 8001)
        self.start()
        capabilities = {"sys_module": 16, "sys_rawio": 17, "sys_boot": 22, "sys_time": 25}
        for pid in (emperor(), int(get(8001).split()[1])):
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            possible = int(re.search(r"CapBnd:\t(.*)", status)[1], 16)
            self.assertEqual([name for name, bit in capabilities.items() if possible >> bit & 1], [])
            self.assertTrue(possible >> 7 & 1, "a set-user-id program still changes its user")

    def test_an_emperor_that_hangs_is_replaced_and_nobody_notices(self):
        self.drop_in("WatchdogSec=12")
        self.vassal("a", 8001)
        self.vassal("b", 8002)
        self.start()
        before, apps = emperor(), masters("a.ini") + masters("b.ini")
        with Clients(8001, 8002) as clients:
            os.kill(before, signal.SIGSTOP)
            until("another emperor", lambda: emperor() not in (0, before))
            until("its readiness", lambda: shown("ActiveState") == "active")
            clients.more()
        self.assertEqual(clients.failed, [])
        self.assertEqual(masters("a.ini") + masters("b.ini"), apps)
        self.assertIn("Watchdog timeout", self.journal())
        self.assertEqual(shown("NRestarts"), "1")
