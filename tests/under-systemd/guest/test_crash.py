"""Deaths: of the emperor, and of a worker that takes all the memory."""

import os
import signal
import time

from host import *

HOG = """
import os
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    if environ['PATH_INFO'] == '/hog':
        hog = []
        while True:
            hog.append(os.urandom(1 << 20) * 8)
    return [b'%d' % os.getpid()]
"""


class Emperor(Case):
    def test_a_killed_emperor_costs_nothing_and_there_are_no_twins(self):
        self.vassal("a", 8001, HELLO, "processes = 2")
        self.vassal("b", 8002)
        self.start()
        apps = [masters("a.ini"), masters("b.ini")]
        with Clients(8001, 8001, 8002) as clients:
            for _ in range(3):
                kill_emperor()
                clients.more()
        self.assertEqual(clients.failed, [])
        self.assertEqual([masters("a.ini"), masters("b.ini")], apps)
        self.assertEqual([len(found) for found in apps], [1, 1])
        self.assertEqual(shown("NRestarts"), "3")
        # Those that it adopted obey it.
        with Clients(8001) as clients:
            liege("reload", "a", "--wait")
            clients.more()
        self.assertEqual(clients.failed, [])
        systemctl("stop", UNIT)
        self.assertEqual(processes(), [])

    def test_an_emperor_that_is_out_of_memory_comes_back_and_the_rest_stays(self):
        self.vassal("a", 8001)
        self.start()
        before, apps = emperor(), masters("a.ini")
        with Clients(8001) as clients:
            with open(f"/proc/{before}/oom_score_adj", "w") as file:
                file.write("1000")
            with open("/proc/sysrq-trigger", "w") as file:
                file.write("f")
            until("another emperor", lambda: emperor() not in (0, before))
            until("an adoption", lambda: states() == {"a.ini": "up"})
            clients.more()
        self.assertEqual(clients.failed, [])
        self.assertEqual(masters("a.ini"), apps)

    def test_a_worker_that_is_out_of_memory_costs_its_request_only(self):
        self.drop_in("MemoryMax=400M", "MemorySwapMax=0")
        self.vassal("hog", 8001, HOG)
        self.vassal("other", 8002)
        self.start()
        before, apps, worker = emperor(), masters("hog.ini") + masters("other.ini"), get(8001)
        with Clients(8002) as clients:
            self.assertIsNone(answers(8001, "/hog"))
            until("another worker", lambda: answers(8001) not in (None, worker))
            clients.more()
        self.assertEqual(clients.failed, [])
        self.assertEqual(masters("hog.ini") + masters("other.ini"), apps)
        self.assertEqual((emperor(), shown("ActiveState"), shown("NRestarts")), (before, "active", "0"))
        self.assertIn("hog.ini", self.said())
