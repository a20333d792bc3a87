# What a person types. CI calls these targets and nothing else (.ci/run).
#
#   make demo     a lab of its own: an ISP, the gateway and a LAN client; shows that it works
#   make test     every test, with real peers; needs root or sudo
#   make build    target/release/genkan

.DEFAULT_GOAL := build
.PHONY: setup build demo test bench soak fuzz fmt lint doc deny

# Where rustup puts its programs, which a non-interactive shell may not know; ip, tc and dnsmasq are in sbin.
export PATH := $(HOME)/.cargo/bin:$(PATH):/usr/sbin:/sbin

CARGO ?= cargo
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo -E)
# Seconds for each fuzz target: a few in `make test`, as many as you like by hand.
FUZZ_SECONDS ?= 600
# Lives that `make soak` has the simulation live.
LIVES ?= 100000

# Debian packages: to build, for the demo and the labs, and for the guest with the real peers.
PACKAGES := build-essential ca-certificates pkg-config libpcap-dev \
	iproute2 iputils-ping dnsmasq-base busybox-static ethtool nftables tcpdump traceroute valgrind \
	qemu-system-x86 cpio

# Installs what is missing; says nothing when nothing is.
setup:
	@tests/setup.sh $(PACKAGES)

build: setup
	$(CARGO) build --release --package genkan

demo: build
	@$(SUDO) target/release/genkan demo

# Everything: unit tests, simulated lives, labs with real peers, a short run of each fuzz target. Labs exclude each
# other, and a lab that cannot run fails.
test: build
	@tests/guest/build.sh target/guest
	@$(SUDO) true || { echo "make test: labs need root, and sudo does not give it" >&2; exit 1; }
	$(CARGO) test --workspace $(if $(SUDO),--config "target.'cfg(all())'.runner = '$(SUDO)'"); \
		status=$$?; $(SUDO) target/debug/genkan-lab sweep; exit $$status
	@$(MAKE) --no-print-directory fuzz FUZZ_SECONDS=5

soak: build
	GENKAN_LIVES=$(LIVES) $(CARGO) test --release --package genkan-netstack --features sim -- lives

bench: build
	$(SUDO) tests/bench/run.sh

# Each target from its seeds, $(FUZZ_SECONDS) seconds long.
fuzz: setup
	@tests/fuzz.sh $(FUZZ_SECONDS)

fmt:
	$(CARGO) fmt --all

lint:
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

deny:
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny
	$(CARGO) deny check
