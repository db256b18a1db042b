//! The files: each row uses one part of the language. Only names without an effect are said, so that a real uWSGI
//! changes nothing while it reads them.

/// One configuration.
pub(crate) struct Case {
    /// The arguments, separated by spaces.
    pub(crate) arguments: &'static str,
    /// The files that are there.
    pub(crate) files: &'static [(&'static str, &'static str)],
    /// The entries that are ours on purpose: key, our text, uWSGI's text.
    pub(crate) ours: &'static [(&'static str, &'static str, &'static str)],
    /// What uWSGI must be built with.
    pub(crate) needs: &'static str,
}

/// The environment of both.
pub(crate) const VARIABLES: &[(&str, &str)] = &[
    ("PATH", "/usr/bin:/bin"),
    ("HOME", "/home/somebody"),
    ("EMPTY", ""),
    ("SPACED NAME", "spaced"),
    ("NESTED", "$(HOME)"),
    ("UWSGI_FROM_ENV", "env"),
    ("UWSGI_EMPEROR_FD_CONFIG", "9"),
];

const fn ini(text: &'static [(&'static str, &'static str)]) -> Case {
    Case { arguments: "--ini a.ini", files: text, ours: &[], needs: "" }
}

impl Case {
    const fn said(mut self, arguments: &'static str) -> Self {
        self.arguments = arguments;
        self
    }

    const fn ours(mut self, ours: &'static [(&'static str, &'static str, &'static str)]) -> Self {
        self.ours = ours;
        self
    }

    const fn needs(mut self, needs: &'static str) -> Self {
        self.needs = needs;
        self
    }
}

/// All of them.
pub(crate) const CASES: &[Case] = &[
    // Lines.
    ini(&[("a.ini", "[uwsgi]\na = b\n  c\t=\td  \n\n; no = no\n# no = no\n\t; no\nbare\nempty =\n")]),
    ini(&[("a.ini", "[uwsgi]\r\na = b\r\n\r\n; c\r\nbare\r\nc = d")]),
    ini(&[("a.ini", "[uwsgi]\na = A=b=c\nurl = http://x/?a=b#c;d\nkey: value\nx : y = z\nenv X = y\n")]),
    ini(&[("a.ini", "[uwsgi]\na = \"quoted\"\nb = 'single'\nc = back\\slash \\n\nd = a \"b\" c\n")]),
    ini(&[("a.ini", "[uwsgi]\na = 4 # four\nb = x ; y\nc = a#b\nd = a;b\n")]),
    ini(&[("a.ini", "[uwsgi]\nä = ö ü\nzh = 日本語\nKey = Case\nkey = case\n--master = true\n")]),
    ini(&[("a.ini", "[uwsgi]\na = 1\na = 2\nb = 3\na = 1\n")]),
    ini(&[("a.ini", "[uwsgi]\na = 1\rb = 2\n  indented = yes\nx=\ny= \nz =z\n")]),
    ini(&[("a.ini", "before = 1\n[uwsgi]\na = 1\n[other]\nb = 2\n[uwsgi]\nc = 3\n")]),
    ini(&[("a.ini", "  [uwsgi]  \na = 1\n[uwsgi\nb = 2\n[ uwsgi ]\nc = 3\n[UWSGI]\nd = 4\n")]),
    ini(&[("a.ini", "[uwsgi] ; x\na = 1\n[uwsgi)\nb = 1\n")]),
    ini(&[("a.ini", "")]),
    ini(&[("a.ini", "[uwsgi]\na = [b]\nb = = =\nc = x\u{a0}y\n")]),
    // Sections and files.
    ini(&[("a.ini", "[uwsgi]\na = 1\n[web]\nb = 2\nx = %x\n")]).said("--ini a.ini:web"),
    ini(&[("a.ini", "[uwsgi]\na = 1\n[web]\nb = 2\n")]).said("--ini a.ini:"),
    ini(&[("a.ini", "[uwsgi]\na = 1\n[web]\nb = 2\n")]).said("--ini a.ini --ini :web"),
    ini(&[("a.ini", "[uwsgi]\na = 1\n")]).said("--ini a.ini:none"),
    ini(&[("a.ini", "[uwsgi]\na = 1\nini = :base\nc = 3\n[base]\nb = 2\nx = %x%X\n")]),
    ini(&[
        ("a.ini", "[uwsgi]\na = 1\nini = sub/b.ini\nini = :more\nc = %n\n[more]\nd = a\n"),
        ("sub/b.ini", "[uwsgi]\nb = %n %N %d %x\n[more]\nd = b\n"),
    ]),
    ini(&[
        ("a.ini", "[uwsgi]\ninclude = b.ini\nc = %n\n"),
        ("b.ini", "[uwsgi]\nb = %n %N %o %O %s %S %e %E\n"),
    ]),
    ini(&[("a.ini", "[uwsgi]\nb = %n-%N-%d-%D-%O-%S-%c\n")]).said("a.ini"),
    ini(&[("a.ini", "[uwsgi]\na = ini\n")]).said("a.ini --set a=cli --set-placeholder b=c"),
    ini(&[("a.ini", "[uwsgi]\na = ini\n"), ("b.ini", "[uwsgi]\nb = %(a)\n")]).said("--set a=cli --ini a.ini b.ini"),
    ini(&[("a.ini", "[uwsgi]\nini = b.ini\n"), ("b.ini", "[uwsgi]\nini = c.ini\nb = %n%N\n"), ("c.ini", "[uwsgi]\nc = %n%N%p%P\n")]),
    ini(&[("a.ini", "[uwsgi]\na = 1\ninherit = b.ini\nz = 2\n"), ("b.ini", "[uwsgi]\nb = %(a) $(HOME) %n\n")]),
    ini(&[
        ("a.ini", "[uwsgi]\ninherit = b.ini\na = 1\n"),
        ("b.ini", "[uwsgi]\nb = %n\ninherit = c.ini\ninherit = d.ini\nbb = 2\n"),
        ("c.ini", "[uwsgi]\nc = %n%N\nini = d.ini\n"),
        ("d.ini", "[uwsgi]\nd = %n %(a)\n"),
    ]),
    ini(&[("a.xml", "<uwsgi><a>1</a></uwsgi>")]).said("-x a.xml -v 10 -p 2"),
    ini(&[
        ("a.ini", "[uwsgi]\nini = b.ini\nini = :more\na = %N\n"),
        ("b.ini", "[uwsgi]\nb = %n|%N|%O|%D|%X\n[more]\nc = %o|%p|%s|%d|%n|%x|%N|%X\n"),
    ])
    .said("a.ini"),
    ini(&[
        ("a.ini", "[uwsgi]\nini = b.ini\nini = :more\n[more]\na = %o|%n|%O\n"),
        ("b.ini", "[uwsgi]\nb = %N\n[more]\nc = %o|%p|%s|%d|%n|%x|%N|%X\n"),
    ])
    .said("--include a.ini --ini b.ini"),
    // Magic variables.
    ini(&[("sub/my.app.ini", "[uwsgi]\na = %o|%p|%s|%d|%n|%e|%c|%x|%i|%j\nb = %O|%P|%S|%D|%N|%E|%C|%X|%I|%J\n")])
        .said("--ini sub/my.app.ini"),
    ini(&[("sub/noext", "[uwsgi]\na = %o|%s|%n|%e|%0|%1|%2|%9\n")]).said("--ini sub/noext"),
    ini(&[("a.ini", "[uwsgi]\na = %v %k %h %u %U %g %G\nb = 100%% %%n %[x\n")]),
    ini(&[("a.ini", "[uwsgi]\na = %Y-%m-%M %a%f%F%l%q%r%w%y%z%A%B%H%K%L%Q%R%W%Z%_%-%.x% y\n")]),
    ini(&[("a.ini", "[uwsgi]\n%n = key\n%d%n\n")]),
    ini(&[("a.ini", "[%n]\nx = 1\n[uwsgi]\na = 1\n")]),
    // Expansion.
    ini(&[("a.ini", "[uwsgi]\na = $(HOME)/x $(NONE) $(EMPTY)| ${HOME} $HOME $( HOME) $(SPACED NAME)\n$(HOME) = k\n")]),
    ini(&[("a.ini", "[uwsgi]\na = @(text) x @(empty)y\n"), ("text", "content\n"), ("empty", "")]),
    ini(&[("a.ini", "[uwsgi]\na = @(text)\nb = @(two)|\n"), ("text", "%(x) $(HOME)"), ("two", "x\r")])
        .ours(&[]),
    ini(&[("a.ini", "[uwsgi]\nbase = /x\na = %(base)/y %(none) %(flag)|%(later)\nflag\nlater = z\n")]),
    ini(&[("a.ini", "[uwsgi]\nx = 1\nx = 2\na = %(x) %(x + 1)\nfrom = %(from-env)\n")]),
    ini(&[("a.ini", "[uwsgi]\nfoo = 17\nbar = 30\na = %(foo + bar + 3)\nb = %(foo + bar + 3 * 2)\nc = %(foo ++)\nd = %(foo bar ++)\ne = %(foo / 2)\nf = %(foo / 0)\ng = %(nope + 1)\nh = %(2 * 3)\ni = %(%k * 2)\nj = %(foo+bar)\nk = %( foo )\nl = %(foo * 1.5)\nm = %(foo - bar)\nn = %(foo --)\no = %(foo  bar)\np = x%(foo + 1)y%(bar + 1)z\n")]),
    ini(&[("a.ini", "[uwsgi]\nfoo = 1\na = %( ) %(++ ) %(-- 3) %(nope ++) %(+ 3) @() %() $()\nb = x%(a%(foo)y %(foo (\n")]),
    ini(&[("a.ini", "[uwsgi]\niffile = gone\na = 1\nifopt = gone\nif-not-directory = a.ini\nb = 2\nendif\n")]),
    ini(&[("a.ini", "[uwsgi]\na = %((2 * 2) + 1)\n")]).ours(&[("a", "5", "1")]),
    ini(&[("a.ini", "[uwsgi]\nw1 = %(w2)\nw2 = %(w3)\nw3 = end\ny = a%(w1)\n")])
        .ours(&[("w1", "end", "%(w3)")]),
    ini(&[("a.ini", "[uwsgi]\nset-placeholder = p=%(q)\nset-ph = r=2\nset = s=%(q)\nq = 1\na = x%(p) %(r) %(s)\n")])
        .ours(&[("p", "1", "%(q)")]),
    ini(&[("a.ini", "[uwsgi]\nlog-format = %(uri) %(method) %(base)\nbase = b\nr = %(%(base))\nb = c\n")])
        .ours(&[("r", "c", "%(b)")]),
    // Blocks.
    ini(&[("a.ini", "[uwsgi]\nif-not-opt = foo\na = 1\nfoo = 2\nb = 3\nend\nd = 5\n")]),
    ini(&[("a.ini", "[uwsgi]\nif-not-opt = foo=x\nfoo = y\na = 1\nfoo = x\nb = 2\nend\nif-not-opt = bar=x\nbar = x\nc = 1\nend\nd = 5\n")]),
    ini(&[("a.ini", "[uwsgi]\nfor = a b  c\nk1 = %(_)\nk2 = x%(_)y%(_)\nendfor =\nz = %(_)\n")]),
    ini(&[("a.ini", "[uwsgi]\nfoo = 17\nfor = %(foo)/a $(HOME)/b @(text) a=b\nk = x%(_)\nendfor\nfor = a=b c=\nset = %(_)\nend\n"), ("text", "content\n")]),
    ini(&[("a.ini", "[uwsgi]\nfoo = 17\nbar = %(foo) $(HOME)\nif-opt = bar\nk = x%(_)\nendif\nif-not-exists = %(foo)\nl = x%(_)\nendif\nif-env = NESTED\nm = x%(_)\nendif\nfor-glob = %(foo)*\nn = x%(_)\nend\n")]),
    ini(&[("a.ini", "[uwsgi]\nfoo = 17\nfor-readline = lines\nk = x%(_)\nendfor\n"), ("lines", "%(foo)\n$(HOME)\n# c\n  s \n%n\na=b;c\n")]),
    ini(&[("a.ini", "[uwsgi]\nfor-times = 3\nk = %(_)\nend-for\nfor-times = 0\nn = %(_)\nend = x\n")]),
    ini(&[("a.ini", "[uwsgi]\nfor-glob = *.txt\nk = %(_)\nend\nfor-glob = none*\nn = %(_)\nend\n"), ("b.txt", ""), ("a.txt", ""), (".c.txt", "")]),
    ini(&[("a.ini", "[uwsgi]\nfor-glob = sub*\nk = %(_)\nend\n"), ("sub/x", "")]),
    ini(&[("a.ini", "[uwsgi]\nfor-readline = lines\nk = %(_)\nend\n"), ("lines", "one\ntwo words\n\nlast")]),
    ini(&[("a.ini", "[uwsgi]\nif-env = HOME\na = %(_)\nendif\nif-env = HOME=/home/somebody\nb = %(_)\nendif\nif-env = HOME=x\nc = %(_)\nendif\nifenv = NONE\nd = 1\nendif\nif-env = EMPTY\ne = %(_)|\nendif\n")]),
    ini(&[("a.ini", "[uwsgi]\nif-not-env = NONE\na = 1\nendif\nif-not-env = HOME=x\nb = %(_)\nendif\nif-not-env = HOME\nc = 1\nend-if\n")]),
    ini(&[("a.ini", "[uwsgi]\nx = 1\nx = 2\nif-opt = x\na = %(_)\nendif\nif-opt = x=1\nb = %(_)\nendif\nif-opt = x=2\nc = 1\nendif\nif-not-opt = y\nd = 1\nendif\nif-not-opt = x=2\ne = %(_)\nendif\nif-opt = from-env\nf = %(_)\nendif\n")]),
    ini(&[("a.ini", "[uwsgi]\nif-exists = a.ini\na = %(_)\nendif\nif-file = a.ini\nb = %(_)\nendif\nif-dir = sub\nc = %(_)\nendif\nif-directory = sub\nc2 = %(_)\nendif\nifdir = sub\nc3 = %(_)\nendif\nif-not-exists = no\nd = %(_)\nendif\nif-not-file = sub\ne = %(_)\nendif\nif-not-dir = a.ini\nf = %(_)\nendif\nif-file = sub\ng = 1\nendif\n"), ("sub/x", "")]),
    ini(&[("a.ini", "[uwsgi]\nif-reload =\na = 1\nendif\nif-not-reload = x\nb = 1\nendif\nif-hostname = %h\nc = %(_)\nendif\nif-not-hostname = %h\nd = 1\nendif\n")]),
    ini(&[("a.ini", "[uwsgi]\nif-not-env = UWSGI_EMPEROR_FD\na = 1\nend-if\nif-env = UWSGI_EMPEROR_FD\nb = 1\nendif\nc = 1\n")]),
    ini(&[("a.ini", "[uwsgi]\nendif = stray\na = 1\nif-env = NONE\nb = 1\n"), ("b.ini", "[uwsgi]\nc = 1\n")]).said("--ini a.ini b.ini"),
    ini(&[("a.ini", "[uwsgi]\nif-env = NONE\nini = b.ini\nendif\nif-env = HOME\nini = b.ini\nendif\nfor = 1 2\ninclude = b.ini\nendfor\n"), ("b.ini", "[uwsgi]\nb = %(_)\n")]),
    ini(&[("a.ini", "[uwsgi]\nfor = x y\nset = %(_)=v\nset-ph = ph%(_)x=w\nend\n")]),
    ini(&[]).said("--for=1 --set=a=%(_) --endfor --if-env=NONE --set=b=1 --endif --if-not-env=NONE --set=c=1"),
    // Other formats.
    ini(&[("a.json", r#"{"uwsgi": {"a": "%n %N", "t": true, "f": false, "n": null, "i": -17, "e": 1.50, "l": ["x", 2, true, null], "u": "caf\u00e9 \"q\"", "z": "%(a)$(HOME)", "p": "100%%", "a": "again", "flag": "", "for": "1 2", "k": "%(_)", "endfor": ""}}"#)]).said("--json a.json").needs("-DUWSGI_JSON"),
    ini(&[("a.json", r#"{"web": {"a": %k, "s": "%x"}, "uwsgi": {}}"#)]).said("--json a.json:web").ours(&[("json", "a.json:web", "a.json")]).needs("-DUWSGI_JSON"),
    ini(&[("a.js", r#"{"uwsgi": {"a": "1"}}"#), ("b.ini", "[uwsgi]\njson = a.js\nb = 2\n")]).said("a.js --ini b.ini").needs("-DUWSGI_JSON"),
    ini(&[("a.yaml", "# c\nother:\n  x: 1\nuwsgi:\n  a: b\n  # c\n  n: %n %N\n  h: $(HOME)\n  t: true\n  u: ä\n  e: A=b=c\n  yes: no\n\nlast:\n  y: 1\n")]).said("--yaml a.yaml"),
    ini(&[("a.yml", "uwsgi:\n  a: \"q # 'x'\"  # comment\n  s: 'single'\n  l: [x, 2]\n  b:\n    - one\n    - two\n  o: -1\n  t: ~\n  last: 1\n")]).said("--yml a.yml").needs("-DUWSGI_LIBYAML"),
    ini(&[("a.yml", "uwsgi:\n  a: 1\nweb:\n  b: %x\n")]).said("--yaml a.yml:web").needs("-DUWSGI_LIBYAML"),
    ini(&[("a.xml", "<?xml version=\"1.0\"?>\n<uwsgi>\n  <!-- no -->\n  <a>b</a>\n  <flag/>\n  <empty></empty>\n  <s> x </s>\n  <e>a &amp; b &lt;c&gt;</e>\n  <n>%n %N</n>\n  <p>%(a)$(HOME)</p>\n  <l>1</l><l>2</l>\n</uwsgi>\n")]).said("--xml a.xml"),
    ini(&[("a.xml", "<all><uwsgi id=\"x\"><a>1</a></uwsgi><uwsgi id=\"y\"><a>2</a></uwsgi></all>\n")]).said("--xml a.xml:y").ours(&[("xml", "a.xml:y", "a.xml")]).needs("-DUWSGI_XML_LIBXML2"),
];

/// Names and texts of files.
type Files = &'static [(&'static str, &'static str)];

/// What both refuse: arguments, files, and a part of our message.
pub(crate) const REFUSED: &[(&str, Files, &str)] = &[
    ("--ini a.ini", &[], "realpath() of a.ini failed"),
    ("--ini a.ini", &[("a.ini", "[uwsgi]\nini = b.ini\n")], "realpath() of b.ini failed"),
    (
        "--ini a.ini",
        &[("a.ini", "[uwsgi]\ninclude = b.txt\n"), ("b.txt", "")],
        "unable to load configuration from b.txt",
    ),
    ("a.ini:web", &[("a.ini", "[web]\nx = 1\n")], "unable to load configuration from a.ini:web"),
    ("a.INI", &[("a.INI", "[uwsgi]\nx = 1\n")], "unable to load configuration from a.INI"),
    ("--ini a.ini", &[("a.ini", "[uwsgi]\nset = x\n")], "invalid placeholder/--set value"),
    ("--ini a.ini", &[("a.ini", "[uwsgi]\nset-ph = x\n")], "invalid placeholder/--set value"),
    (
        "--ini a.ini",
        &[("a.ini", "[uwsgi]\nset-placeholder = processes=3\n")],
        "you cannot use processes as a placeholder",
    ),
    ("--ini a.ini", &[("a.ini", "[uwsgi]\na = @(none)\n")], "open(\"none\")"),
    (
        "--ini a.ini",
        &[("a.ini", "[uwsgi]\nstrict = tue\nprocess = 3\n")],
        "unknown config directive: process",
    ),
    ("--ini a.ini", &[("a.ini", "[uwsgi]\nprocess = 3\nstrict =\n")], "unknown config directive: process"),
    ("--ini a.ini", &[("a.ini", "[uwsgi]\nstrict = 1\nset = a=b\n")], "unknown config directive: a"),
    ("--ini a.ini --strict", &[("a.ini", "[uwsgi]\na = b\n")], "unknown config directive: a"),
    (
        "--ini a.ini",
        &[("a.ini", "[uwsgi]\nblacklist = x y\ny = 1\n")],
        "forbidden option \"y\" (by blacklist)",
    ),
    (
        "--ini a.ini",
        &[("a.ini", "[uwsgi]\nwhitelist = x y\nz = 1\n")],
        "forbidden option \"z\" (by whitelist)",
    ),
    ("--xml a.xml", &[("a.xml", "<other><x/></other>")], "can't find element <uwsgi>"),
    ("--xml a.xml", &[("a.xml", "<uwsgi><a></uwsgi>")], "a.xml:1: error: error parsing XML data"),
    ("--yaml a.yaml", &[], "realpath() of a.yaml failed"),
];
