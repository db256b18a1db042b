# make run      build, and serve vassals.example
# make test     everything that must pass
# make lint     format and lints only
# make docs     the parts of docs that are made from the code
# make bench    liege beside uWSGI, Granian and gunicorn (minutes); also bench-fleet, bench-host, bench-reload and bench-api
# make install  PREFIX=/usr/local DESTDIR= : binary, extension, unit
# make under-systemd  the checks in a virtual machine with systemd (minutes)

CARGO ?= cargo
PREFIX ?= /usr/local
DESTDIR ?=
# What is installed; with another than this, `CARGO=:` says that it is built.
BUILT ?= target/release
UNITDIR ?= $(PREFIX)/lib/systemd/system

.PHONY: run build test lint environments docs bench bench-fleet bench-host bench-reload bench-api install under-systemd

run:
	$(CARGO) build --release
	@mkdir -p run
	@sed -n 's/^; Try: /  /p' vassals.example/*.ini
	@echo "  target/release/liege status --api run/api.sock"
	@echo "  http://127.0.0.1:8004/"
	exec target/release/liege --emperor vassals.example --api run/api.sock --api-http 127.0.0.1:8004

build:
	$(CARGO) build

# A toolchain without rustfmt or clippy builds liege all the same: the check is skipped, and says so.
lint:
	@if $(CARGO) fmt --version >/dev/null 2>&1; then $(CARGO) fmt --check; else echo "skipped: rustfmt (not installed)"; fi
	@if $(CARGO) clippy --version >/dev/null 2>&1; then $(CARGO) clippy --all-targets -- -D warnings; else echo "skipped: clippy (not installed)"; fi

# The tests start the binary, whose workers load the extension: both are built first.
test: lint build environments
	tests/run

environments:
	tests/make-environments

docs:
	LIEGE_MAKE_DOCS=1 $(CARGO) test --test pages

under-systemd: build
	tests/under-systemd/run

bench:
	$(CARGO) build --release
	bench/run

bench-fleet:
	$(CARGO) build --release
	bench/fleet

bench-host:
	$(CARGO) build --release
	bench/host

bench-reload:
	$(CARGO) build --release
	bench/reload

bench-api:
	$(CARGO) build --release
	bench/api

install:
	$(CARGO) build --release
	install -D -m 755 $(BUILT)/liege $(DESTDIR)$(PREFIX)/bin/liege
	install -D -m 755 $(BUILT)/libliege.so $(DESTDIR)$(PREFIX)/lib/liege/libliege.so
	install -D -m 755 systemd/end-leftovers $(DESTDIR)$(PREFIX)/lib/liege/end-leftovers
	install -D -m 644 docs/liege.1 $(DESTDIR)$(PREFIX)/share/man/man1/liege.1
	install -D -m 644 completions/liege.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/liege
	install -D -m 644 completions/_liege $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_liege
	install -D -m 644 completions/liege.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/liege.fish
	install -d $(DESTDIR)$(UNITDIR)
	sed 's|/usr/local/|$(PREFIX)/|' systemd/liege.service > $(DESTDIR)$(UNITDIR)/liege.service
	chmod 644 $(DESTDIR)$(UNITDIR)/liege.service
