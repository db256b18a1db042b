"""The journal: whose line it is, how bad it is, and that nobody's flood drowns the others'."""

import json
import pathlib
import subprocess
import threading

from host import *

SPEAKS = """
import sys
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    if environ['PATH_INFO'] == '/flood':
        for number in range(20000):
            print('flood', number, 'x' * 200, file=sys.stderr)
    elif environ['PATH_INFO'] == '/bad':
        print('ERROR:root:bad', file=sys.stderr, flush=True)
    else:
        print('said', environ['PATH_INFO'], file=sys.stderr, flush=True)
    return [b'said']
"""


class Journal(Case):
    def entries(self, *words):
        text = run("journalctl", "-o", "json", "--after-cursor", self.cursor, *words)
        return [json.loads(line) for line in text.splitlines()]

    def test_a_line_has_its_vassal_its_priority_and_the_unit(self):
        self.vassal("shop", 8001, SPEAKS)
        self.vassal("broken", 8002, "import nothing_of_this_name\n", "need-app = true")
        self.start()
        get(8001, "/this")
        said = until("the line", lambda: [one for one in self.entries("VASSAL=shop.ini") if one["MESSAGE"] == "[shop.ini] said /this"])
        self.assertEqual([said[0][name] for name in ("PRIORITY", "SYSLOG_IDENTIFIER", "_SYSTEMD_UNIT")], ["6", "liege", UNIT])
        self.assertTrue(all(one["MESSAGE"].startswith("[shop.ini]") for one in self.entries("VASSAL=shop.ini")))
        until("the warning", lambda: self.entries("-u", UNIT, "-p", "warning", "VASSAL=broken.ini"))
        self.assertEqual(self.entries("-p", "warning", "VASSAL=shop.ini"), [])
        get(8001, "/bad")
        until("the error", lambda: [one for one in self.entries("-p", "err", "VASSAL=shop.ini") if one["MESSAGE"] == "[shop.ini] ERROR:root:bad"])

    def test_the_flood_of_one_vassal_does_not_lose_the_lines_of_another(self):
        self.vassal("flood", 8001, SPEAKS)
        self.vassal("quiet", 8002, SPEAKS)
        self.start()
        # Read as they come: the journal removes its oldest entries where its disk is small.
        followed = pathlib.Path("/tmp/followed")
        with followed.open("wb") as file:
            reader = subprocess.Popen(["journalctl", "-f", "-o", "cat", "--after-cursor", self.cursor, "VASSAL=quiet.ini"], stdout=file)
        self.addCleanup(reader.wait)
        self.addCleanup(reader.kill)
        flooding = threading.Thread(target=answers, args=(8001, "/flood"))
        flooding.start()
        number = 0
        while flooding.is_alive() or number < 20:
            get(8002, f"/{number}")
            number += 1
        flooding.join()
        wanted = [f"[quiet.ini] said /{one}" for one in range(number)]
        until("the last line", lambda: wanted[-1] in followed.read_text().splitlines())
        said = [line for line in followed.read_text().splitlines() if " said /" in line]
        # The one who floods is told what his log did not take.
        warnings = [one for one in self.entries("-u", UNIT, "-p", "warning") if one.get("VASSAL") != "flood.ini"]
        dropped = [one["MESSAGE"] for one in warnings if "dropped" in one["MESSAGE"]]
        self.assertEqual((said, dropped), (wanted, []))
        self.assertEqual(shown("ActiveState", "NRestarts"), ["active", "0"])
        print(f"         {number} lines beside the flood")
