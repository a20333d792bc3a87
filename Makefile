# What a person types. CI calls these targets and nothing else (.ci/run).
#
#   make demo     a lab of its own: an ISP, the gateway and a LAN client; shows that it works
#   make test     every test, with real peers; needs root or sudo
#   make build    target/release/genkan
#   make image    target/image: the guest router as a disk image, and its kernel and initramfs
#   make deb      target/deb: the Debian packages, of the program and of the guest router
#   make bench    measures, and writes tests/bench/RESULTS.md
#   make fuzz     each fuzz target for FUZZ_SECONDS seconds
#   make soak     LIVES simulated lives, ten years of nightly redials, FRAMES frames through the kernel half and the core,
#                 the labs with real peers without the kernel path, CUTS power cuts of the guest router and CUTS of its upgrade
#   make requirements   which lines of the requirements list have a test
#   make lint doc deny fmt

.DEFAULT_GOAL := build
.PHONY: help setup setup-demo setup-test setup-bench setup-image setup-deb build image deb demo test test-run test-fuzz bench soak \
	fuzz requirements fmt lint doc deny

# Where rustup puts its programs, which a non-interactive shell may not know; ip, tc and dnsmasq are in sbin.
export PATH := $(HOME)/.cargo/bin:$(PATH):/usr/sbin:/sbin

CARGO ?= cargo
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo -E)
# Seconds for each fuzz target: a few in `make test`, as many as you like by hand.
FUZZ_SECONDS ?= 600
# Lives that `make soak` has the simulation live, and frames that it compares both halves of the kernel path by.
LIVES ?= 100000
FRAMES ?= 100000000
# How often it cuts the guest router's power, and its upgrade.
CUTS ?= 20
# The labs with real peers: `make test` runs them as gateways are by default, with the kernel path, `make soak` without.
PEER_LABS := $(addprefix --test ,isp_rp_pppoe ipv6_isp client_pppd uplink_ethernet guest lan renumbering several state offload \
	wireguard wireguard_bridge wireguard_exit wireguard_guest wireguard_pair wireguard_pppoe)
# Has cargo run tests as root.
RUN_AS_ROOT := $(if $(SUDO),--config "target.'cfg(all())'.runner = '$(SUDO)'")

# The head of this file.
help:
	@sed -n '/^$$/q; s/^# \{0,1\}//p' Makefile

# Debian packages: to build; for the demo; for the guest router's image; for the tests: the labs and the guest with the real
# peers; for the benchmarks.
BUILD_PACKAGES := build-essential ca-certificates pkg-config libpcap-dev clang libbpf-dev
DEB_PACKAGES := debhelper
DEMO_PACKAGES := iproute2 iputils-ping udhcpc
IMAGE_PACKAGES := busybox-static cpio squashfs-tools dosfstools mtools fdisk qemu-utils grub-common \
	libgnutls30 libseccomp2 libtomcrypt1 libtommath1
TEST_PACKAGES := $(DEMO_PACKAGES) $(DEB_PACKAGES) debootstrap libvirt-clients libvirt-daemon libxml2-utils isc-dhcp-client \
	dnsmasq-base busybox-static ethtool tcpdump tshark traceroute ndisc6 radvd kea-dhcp6-server libfl2 qemu-system-x86 cpio \
	nftables openssh-client ovmf wireguard-go wireguard-tools
BENCH_PACKAGES := $(TEST_PACKAGES) valgrind linux-perf
# Programs of crates.io that are measured beside genkan.
BENCH_PEERS := boringtun-cli@0.7.1 gotatun-cli@0.10.2

# Installs what is missing; says nothing when nothing is.
setup:
	@tests/setup.sh $(BUILD_PACKAGES)

setup-demo:
	@tests/setup.sh $(BUILD_PACKAGES) $(DEMO_PACKAGES)

setup-test:
	@tests/setup.sh $(BUILD_PACKAGES) $(TEST_PACKAGES)

setup-image:
	@tests/setup.sh $(BUILD_PACKAGES) $(IMAGE_PACKAGES)

setup-deb:
	@tests/setup.sh $(BUILD_PACKAGES) $(DEB_PACKAGES)

setup-bench:
	@tests/setup.sh $(BUILD_PACKAGES) $(BENCH_PACKAGES)
	@for peer in $(BENCH_PEERS); do $(CARGO) install --quiet --locked --root target/bench-peers $$peer; done

build: setup
	$(CARGO) build --release --package genkan

image: setup-image build
	@images/build.sh target/image target/release/genkan

# The manual pages and completions first, by the command line's own definition.
deb: setup-deb image
	$(CARGO) build --package genkan --example documents
	@rm -rf target/documents && target/debug/examples/documents target/documents
	@images/deb/build.sh target/deb target/release/genkan target/documents \
		target/image/genkan-vm.qcow2

# Without root and sudo the demo itself tries a user namespace, and says what to do where there is none.
demo: setup-demo build
	@if [ -n "$(SUDO)" ] && sudo -v 2>/dev/null; then sudo target/release/genkan demo; else target/release/genkan demo; fi

# Everything: unit tests, simulated lives, labs with real peers, a short run of each fuzz target. A lab that cannot run
# fails. Labs wait most of the time: there are as many at a time as processors, and the fuzz targets run beside them.
test: setup-test build deb
	@tests/guest/build.sh target/guest
	@$(SUDO) true || { echo "make test: labs need root, and sudo does not give it" >&2; exit 1; }
	$(CARGO) test --workspace --no-run
	@$(MAKE) --no-print-directory --jobs=2 --keep-going test-run test-fuzz

test-run:
	$(CARGO) test --workspace --no-fail-fast $(RUN_AS_ROOT); \
		status=$$?; $(SUDO) target/debug/genkan-lab sweep; exit $$status

# Takes what the labs leave of the processors, and speaks when it is done.
test-fuzz:
	@nice -n 19 tests/fuzz.sh 5 >target/fuzz.log 2>&1; status=$$?; cat target/fuzz.log; exit $$status

soak: setup-test deb
	@tests/guest/build.sh target/guest
	GENKAN_FAST_PATH=off $(CARGO) test --package genkan-tests --no-fail-fast $(RUN_AS_ROOT) $(PEER_LABS)
	GENKAN_LIVES=$(LIVES) GENKAN_NIGHTS=3650 $(CARGO) test --release --package genkan-tests --test lives --test lives6
	GENKAN_FRAMES=$(FRAMES) $(CARGO) test --release --package genkan --test equivalence $(RUN_AS_ROOT)
	GENKAN_CUTS=$(CUTS) $(CARGO) test --package genkan-tests --test vm $(RUN_AS_ROOT) power -- --nocapture
	GENKAN_CUTS=$(CUTS) $(CARGO) test --package genkan-tests --test genkan_vm $(RUN_AS_ROOT) -- --nocapture upgrade

bench: setup-bench build
	$(CARGO) bench --package genkan-tests --bench core
	$(CARGO) build --release --package genkan-tests --bins
	$(SUDO) target/release/bench >target/RESULTS.md
	@mkdir -p tests/bench
	mv target/RESULTS.md tests/bench/RESULTS.md
	@cat tests/bench/RESULTS.md

# Each target from its seeds, $(FUZZ_SECONDS) seconds long.
fuzz: setup
	@tests/fuzz.sh $(FUZZ_SECONDS)

# How a test cites a line: the first comment of tests/src/requirements/mod.rs.
requirements:
	@$(CARGO) run --quiet --package genkan-tests --bin requirements

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
