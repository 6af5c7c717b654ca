# Caches stay outside the tree, so that clones share them: builds, servers of the tests, their clients.
export TIPSTREAM_CACHE ?= $(HOME)/.cache/tipstream
export CARGO_TARGET_DIR ?= $(TIPSTREAM_CACHE)/target

WORKER = $(CARGO_TARGET_DIR)/debug/tips-worker
# Over the whole workspace, so that every build has the same features and dependencies are built once.
BUILD = cargo build --locked --workspace
DEMO ?= demo
FUZZ_SECONDS ?= 30

.PHONY: help demo worker build check test setup crds docs pictures bench fuzz clean

help: ## Say what the targets do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: worker ## Run the whole job on generated data, on this machine, with nothing else installed
	@e2e/demo.sh $(WORKER) $(DEMO)

worker: ## Build the worker
	@e2e/build-tools.sh
	$(BUILD) --bin tips-worker

build: ## Build the worker and the query service
	@e2e/build-tools.sh
	$(BUILD) --bin tips-worker --bin tips-query

setup: ## Install what the tests need: real Kafka, Redis, HDFS, S3, and readers of Parquet
	@e2e/setup.sh

check: ## Formatting and lints
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

# Tests wait for servers more than they compute.
test: export RUST_TEST_THREADS ?= 3
test: setup check ## All tests
	$(BUILD) --bins --tests
	@e2e/test.sh

# The profile of the images.
bench: export TIPS_WORKER = $(CARGO_TARGET_DIR)/dist/tips-worker
bench: export TIPS_OPERATOR = $(CARGO_TARGET_DIR)/dist/tips-operator
bench: export TIPS_QUERY = $(CARGO_TARGET_DIR)/dist/tips-query
bench: setup ## Measure what the project promises: a line a figure, exit status 1 if any is short
	$(BUILD) --profile dist --bin tips-worker --bin tips-operator --bin tips-query
	@status=0; \
	cargo bench --locked -q --workspace --profile dist --bench core --bench state || status=1; \
	cargo run --locked -q -p tips-e2e --bin bench || status=1; \
	exit $$status

pictures: export TIPS_WORKER = $(WORKER)
pictures: setup ## Draw the map and the dashboards for the docs, of a run of some minutes
	$(BUILD) --bin tips-worker --bin tips-query --bin tips-operator
	cargo run --locked -q -p tips-e2e --bin draw-map
	cargo run --locked -q -p tips-e2e --bin draw-dashboards

crds: ## Write the CRD from the types, and its copy and the operator's rights in the chart
	cargo run --locked -q -p tipstream-crds --bin crdgen > crds/tipspipelines.yaml.new
	@mv crds/tipspipelines.yaml.new crds/tipspipelines.yaml
	cp crds/tipspipelines.yaml charts/tipstream/files/crd.yaml
	cargo run --locked -q -p tips-operator -- rbac > charts/tipstream/files/rbac.yaml.new
	@mv charts/tipstream/files/rbac.yaml.new charts/tipstream/files/rbac.yaml

docs: ## Write the reference of the manifest from the types
	cargo run --locked -q -p tipstream-crds --bin manifestdoc > docs/manifest.md.new
	@mv docs/manifest.md.new docs/manifest.md

fuzz: ## Feed anything at all to the parsers, FUZZ_SECONDS each (default 30)
	@fuzz/run.sh $(FUZZ_SECONDS)

clean: ## Remove what the demo wrote
	rm -rf $(DEMO)
