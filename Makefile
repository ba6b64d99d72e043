# make demo   runs the whole platform here; ARGS="--for 30s --dir DIR" are passed on
# make test   installs what the tests need and runs every check
# make soak   runs the checks that take longer than anybody waits for
# make bench  prints ratios and rates
.PHONY: demo test install services services-stop fmt clippy docs build unit unit-contract unit-others soak bench image deny

HOST := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
# Tests run the binary that goes into the image, which is static; naming the
# target keeps these flags from build scripts and macros.
STATIC = $(if $(HOST),RUSTFLAGS="-C target-feature=+crt-static" CARGO_BUILD_TARGET=$(HOST),$(error rustc does not run here: install Rust, see README.md))

demo:
	cargo run --release --quiet -- demo $(ARGS)

test: install services fmt clippy docs build unit
	@deploy/dev/services.sh stop
	@echo "make test: every check has passed"

install:
	deploy/dev/install.sh

services:
	deploy/dev/services.sh start

services-stop:
	deploy/dev/services.sh stop

fmt:
	cargo fmt --all --check

clippy:
	$(STATIC) cargo clippy --workspace --all-targets --locked -- -D warnings

docs:
	$(STATIC) RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet

build:
	$(STATIC) cargo build --workspace --tests --locked

# Most tests wait for something, so that there are more at once than processors. What
# the store has to do waits for a Cassandra node, beside the others. Three nodes share
# the machine with nothing: their throughput is held against itself. These globs are
# together all tests there are.
unit: export RUST_TEST_THREADS = 3
unit:
	$(STATIC) cargo test --workspace --locked --test 'e*' -- --skip quorum::
	$(MAKE) --jobs=2 unit-contract unit-others
	$(STATIC) cargo test --workspace --locked --doc
	$(STATIC) cargo test --workspace --locked --test e2e -- quorum::

unit-contract:
	$(STATIC) cargo test --workspace --locked --test 'c*'

unit-others:
	$(STATIC) cargo test --workspace --locked --lib --bins --test '[!ce]*'

# Rounds are set by HELIOGRAPH_SOAK_ROUNDS; half an hour is spent with 200. Steady load
# lasts HELIOGRAPH_SOAK_SECONDS; HELIOGRAPH_FLIPS bits are flipped. What measures, or
# has three nodes, has the machine for itself, and what measures is optimised. Each fuzz
# target has FUZZ_SECONDS.
soak: install services
	$(STATIC) cargo test --workspace --locked --test e2e -- --nocapture --include-ignored --test-threads 1 quorum:: slow:: flipped::
	$(STATIC) cargo test --workspace --locked --test e2e -- --nocapture --include-ignored power:: crash:: ending:: failing:: spool:: full::
	$(STATIC) cargo test --release --workspace --locked --test e2e -- --nocapture --ignored --test-threads 1 storm:: overload:: steady:: simulated:: worst::
	$(STATIC) cargo test --workspace --locked --test contract -- --nocapture --ignored --test-threads 1
	$(STATIC) HELIOGRAPH_FLIPS=$(or $(HELIOGRAPH_FLIPS),20000) \
		cargo test --workspace --locked --test contract -- --nocapture damage::whichever
	deploy/dev/fuzz.sh $(or $(FUZZ_SECONDS),60)

# The end-to-end test of the demo holds an optimised build to its 15 seconds.
bench: services
	cargo bench --workspace --locked --features heliograph-ingest/null-store
	cargo test --release --workspace --locked --test e2e demo:: -- --nocapture
	cargo test --release --locked -p heliograph-ingest --lib -- --ignored --nocapture --test-threads 1

image:
	$(STATIC) cargo build --release --locked
	target/$(HOST)/release/heliograph provider image build

deny:
	cargo deny check bans licenses sources
