# make test        everything: builds the control plane once into the user's cache, then runs all tests
# make test-node   the tests whose pods really run, on a node of their own: needs root, and packages that it installs
# make cluster     a Kubernetes of one node on this machine, without Docker, with the images of tidewait (as it stands,
#                  unoptimised) and of a small app; make cluster-down leaves nothing of it.
#                  CLUSTER names it (default dev). Where TIDEWAIT_TEST_KUBECONFIG names a cluster nothing is made
# make demo        the chart beside an app on such a cluster, and three clients while a model changes; ends clean
# make image       the image, built with docker, podman or buildah, whichever is there, of a program built here;
#                  PROGRAM=compiled builds that in a container too. IMAGE names it
# make bench       measures the front beside its peers (docs/benchmarks.md), in at most ten minutes once all is built;
#                  BENCH takes further flags, such as BENCH='--only floor,tidewait --clients 15000'.
#                  make bench-small does it with a few hundred clients, and checks counts alone
# make lint        format, clippy (with and without the server) and docs, warnings are errors
# make regenerate  files that tests hold to the code: example model, golden answers, tables in docs/

CARGO ?= cargo
CLUSTER ?= dev
TARGET = $(or $(CARGO_TARGET_DIR),target)
BENCH ?=
IMAGE ?=

.PHONY: test bench bench-small lint format clippy docs control-plane test-node cluster cluster-down demo image regenerate

test:
	TIDEWAIT_TEST_ASSETS="$$(tests/control-plane/build.sh)" && export TIDEWAIT_TEST_ASSETS && \
	$(CARGO) test --locked

control-plane:
	tests/control-plane/build.sh

test-node:
	$(CARGO) test --locked --test node

bench:
	$(CARGO) build --locked --release --bin tidewait
	$(CARGO) build --locked --release --package tidewait-bench
	TIDEWAIT_TEST_ASSETS="$$(tests/control-plane/build.sh)" && export TIDEWAIT_TEST_ASSETS && \
	"$(TARGET)/release/tidewait-bench" "$(TARGET)/release/tidewait" $(BENCH)

bench-small:
	$(CARGO) build --locked --bin tidewait
	$(CARGO) test --locked --package tidewait-bench
	$(CARGO) build --locked --package tidewait-bench
	"$(TARGET)/debug/tidewait-bench" "$(TARGET)/debug/tidewait" --small $(BENCH)

cluster:
	@if [ -n "$$TIDEWAIT_TEST_KUBECONFIG" ]; then \
		echo "kubeconfig: $$TIDEWAIT_TEST_KUBECONFIG (TIDEWAIT_TEST_KUBECONFIG is set, so nothing is made)"; \
	else tests/node/up "$(CLUSTER)" && tests/node/load-app "$(CLUSTER)" && tests/node/load-tidewait "$(CLUSTER)"; fi

cluster-down:
	@if [ -n "$$TIDEWAIT_TEST_KUBECONFIG" ]; then \
		echo "TIDEWAIT_TEST_KUBECONFIG is set: that cluster is not ours to take down"; \
	else tests/node/down "$(CLUSTER)"; fi

demo:
	deploy/demo

image:
	deploy/image/build $(IMAGE)

lint: format clippy docs

format:
	$(CARGO) fmt --all --check

clippy:
	$(CARGO) clippy --locked --all-targets -- -D warnings
# Not one of all targets, since cargo test leaves it out.
	$(CARGO) clippy --locked --test node -- -D warnings
	$(CARGO) clippy --locked --package tidewait-bench --all-targets -- -D warnings
	$(CARGO) clippy --locked --package tidewait-client-example --package tidewait --lib --no-default-features -- -D warnings
	$(CARGO) clippy --locked --package tidewait-client-example --package tidewait --lib --no-default-features --features client -- -D warnings

docs:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items

regenerate:
	TIDEWAIT_REGENERATE=1 $(CARGO) test --locked --test it -- example tidy golden the_committed_corpus crd::the_committed chart::
