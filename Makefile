# What one does with this tree. `make help` lists it.

.DEFAULT_GOAL := help
.PHONY: help run test lint format architecture unit integration transcripts crash deny e2e mail clients staysup kill salvage backup dns checks strangers sending secure reports autoconf announce trial acme wizard admin firstboot homes fuzz bench bench-backup bench-sending static image release qemu test-image test-aarch64 bench-image test-update test-stick powercut powercut-box test-buildroot check-buildroot clean-run

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## start the server on loopback with its data in target/run, and say where everything listens
	@scripts/run

test: ## everything that has to hold: format, lints, architecture, unit, transcripts, crash, end to end, the image, power cuts
	@scripts/test

lint: ## format, clippy without warnings, bans, licences and sources of what we stand on
	@scripts/need build deny
	@scripts/test format lint deny

format: ## put the source into its form
	@cargo fmt

architecture: ## who may name whom
	@scripts/test architecture

unit: ## the tests inside the source
	@scripts/test unit

integration: ## accounts against a model, the command line, salvage, real letters read
	@scripts/need build corpus signed
	@scripts/test integration

transcripts: ## conversations with the protocols (tests/transcripts/README.md)
	@scripts/test transcripts

crash: ## power cuts at every disk call, on the simulated disk
	@scripts/test crash

deny: ## bans, licences and sources (deny.toml)
	@scripts/need build deny
	@scripts/test deny

e2e: ## real mail, stock clients, hardship, kills, salvage, certificates and set-up, all against the static binary (HOMEPOST=file: another)
	@scripts/need build mail python corpus dns acme browser openapi signed
	@scripts/test binary mail clients staysup kill salvage backup dns checks strangers sending secure reports autoconf announce acme acme-dns wizard admin firstboot homes

mail: ## thousands of real letters in by SMTP and back by mbsync, byte for byte
	@scripts/need build mail python corpus
	@scripts/test binary mail

clients: ## flags, copies, moves, expunges and IDLE from two connections of imapclient
	@scripts/need build python
	@scripts/test binary clients

staysup: ## full disk, failing syncs, no file descriptors left, half-open connections, absurd messages
	@scripts/need build mail python
	@scripts/test binary staysup

kill: ## 100 times kill -9 under load (KILLS=n for another number)
	@scripts/need build python
	@KILLS=$${KILLS:-100} scripts/test binary kill-many

salvage: ## every letter comes back after the index is deleted
	@scripts/need build python
	@scripts/test binary salvage

backup: ## a backup made while mail is served, put back elsewhere, and read by stock age, tar and sha256sum
	@scripts/need build python mail
	@scripts/test binary backup

autoconf: ## Thunderbird, Outlook, Apple and K-9 set themselves up from recorded requests, and log in with the answer
	@scripts/need build python
	@scripts/test binary autoconf

announce: ## homepost.local is found from the machine next door, in network namespaces
	@scripts/need build python
	@scripts/test binary announce

dns: ## the records of a domain against BIND: zone file, live check, written by RFC 2136 and through a provider, undone
	@scripts/need build python dns
	@scripts/test binary dns

sending: ## letters leave: by MX to somebody else's Postfix and to servers as strange as real ones, through a relay, notices, kills
	@scripts/need build python dns world
	@scripts/test binary sending

strangers: ## what other servers have to go through: block lists, how often they may come, greylisting
	@scripts/need build python dns signed
	@scripts/test binary strangers

secure: ## letters leave as their domains ask: DANE from a root of our own, MTA-STS, REQUIRETLS, or they wait and say why
	@scripts/need build python dns world
	@scripts/test binary secure

checks: ## who stands behind a letter: SPF, DKIM, ARC and DMARC against BIND, dkimpy and OpenDKIM; forged results; a silent DNS
	@scripts/need build python dns signed
	@scripts/test binary checks

reports: ## reports of letters and connections, both ways: ours to somebody else's Postfix, others' told in plain words
	@scripts/need build python dns world signed
	@scripts/test binary reports

acme: ## certificates from an authority: challenges, rehearsal, names that fail, renewal, import
	@scripts/need build python acme dns
	@scripts/test binary acme acme-dns

wizard: ## the set-up on 8080 in a real browser, to the first letter read; screenshots in target/e2e/wizard-shots
	@scripts/need build python acme dns browser
	@scripts/test binary wizard

admin: ## the administration on 443: pages in a real browser, /api against its document; screenshots in target/e2e/admin-shots
	@scripts/need build python browser openapi
	@scripts/test binary admin

firstboot: ## the whole set-up in a small world of network namespaces: BIND, an authority, somebody else's Postfix, the real ports
	@scripts/need python dns acme browser world
	@scripts/test binary firstboot

homes: ## what goes wrong in real homes while a box is set up, and the words its owner reads
	@scripts/need build python acme dns
	@scripts/test binary homes

fuzz: ## ten minutes for each fuzz target (SECONDS_EACH=n for another time)
	@scripts/need build fuzz
	@scripts/fuzz

bench: ## homepost beside Postfix and Dovecot, in one run; figures in target/bench
	@scripts/need build python peers dns world
	@scripts/bench
	@scripts/bench sending

bench-backup: ## backups of 100,000 letters beside restic; figures in target/bench
	@scripts/need build static restic
	@scripts/bench backup

bench-sending: ## letters out, letters in with every check, the queue's memory, beside Postfix; figures in target/bench
	@scripts/need build python peers dns world
	@scripts/bench sending

static: ## the static binary for the images (ARCH=x86_64 or aarch64), in target/static
	@scripts/static $${ARCH:-x86_64}

image: ## the image of a board (BOARD=qemu-x86_64; others by BUILDROOT=folder, see README.md), with what one downloads, in target/image
	@scripts/image $${BOARD:-qemu-x86_64}

release: ## that image, with an update signed by a key of yours, and what to publish (UPDATE_KEY=key.pem, BOARD=…, RELEASE_URL=https://…)
	@test -f "$${UPDATE_KEY:-}" || { echo "release: UPDATE_KEY=FILE names the key that signs; openssl genpkey -algorithm ed25519 -out FILE makes one" >&2; exit 2; }
	@scripts/image $${BOARD:-qemu-x86_64}

qemu: ## boot that image in QEMU with its ports on loopback, and say how to reach it
	@scripts/qemu

test-image: ## build the image, boot it in QEMU and ask what an owner would notice (ARCH=x86_64 or aarch64; the latter takes over a backup of the former)
	@scripts/need build python static image
	@BOARD=$${BOARD:-qemu-$${ARCH:-x86_64}} scripts/test image-build release lan image $(if $(filter aarch64,$(ARCH)),image-x86_64 elsewhere)

test-aarch64: ## the static binary for aarch64, under qemu-user: set up, mail in, mail out, check
	@scripts/need build python static
	@scripts/test static-aarch64 aarch64

test-update: ## build the image, and update it in QEMU: to a new version, to a broken one, to one that was tampered with
	@scripts/need build python static image
	@scripts/test image-build update

test-stick: ## build the image, plug a stick into it in QEMU, and restore an empty box from that stick
	@scripts/need build python static image
	@scripts/test binary image-build stick

bench-image: ## sizes and start-up times of the image, beside the same image with a trivial responder; figures in target/bench
	@scripts/need build python static image
	@BOARD=$${BOARD:-qemu-x86_64} scripts/test image-build bench-image

powercut: ## build the image, and cut its power at 500 moments, from first boot to a new version, and at some of a restore (N=n for another number)
	@scripts/need build python static image
	@scripts/test image-build powercut-many restorecut-many

powercut-box: powercut ## the same

test-buildroot: ## the external tree fits the overlay, the map and the other way; shellcheck over all scripts
	@scripts/need image shellcheck
	@scripts/test buildroot

check-buildroot: ## what a tree of Buildroot and a kernel's Kconfig say of it (BUILDROOT=folder)
	@scripts/check-buildroot

clean-run: ## forget what `make run` keeps
	@rm -rf target/run
