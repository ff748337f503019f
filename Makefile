# make test        everything: builds the control plane once into the user's cache, then runs all tests
# make lint        format, clippy and docs, warnings are errors
# make regenerate  files that tests hold to the code: example model, golden answers, tables in README.md

CARGO ?= cargo

.PHONY: test lint format clippy docs control-plane regenerate

test:
	TIDEWAIT_TEST_ASSETS="$$(tests/control-plane/build.sh)" && export TIDEWAIT_TEST_ASSETS && \
	$(CARGO) test --locked

control-plane:
	tests/control-plane/build.sh

lint: format clippy docs

format:
	$(CARGO) fmt --check

clippy:
	$(CARGO) clippy --locked --all-targets -- -D warnings

docs:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items

regenerate:
	TIDEWAIT_REGENERATE=1 $(CARGO) test --locked --test it -- example tidy golden the_committed_corpus crd::the_committed
