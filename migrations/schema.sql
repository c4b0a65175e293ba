-- Made from the migrations by `migrate script > schema.sql`: the newest schema, for an empty database and one transaction.

CREATE TABLE IF NOT EXISTS "__EFMigrationsHistory" (
    "MigrationId" character varying(150) NOT NULL,
    "ProductVersion" character varying(32) NOT NULL,
    CONSTRAINT "PK___EFMigrationsHistory" PRIMARY KEY ("MigrationId")
);

CREATE TABLE batches (
    id uuid NOT NULL,
    worker uuid NOT NULL,
    dispatch uuid NOT NULL,
    lane text NOT NULL,
    model text NOT NULL,
    provider text NOT NULL,
    rows integer NOT NULL,
    units bigint NOT NULL,
    padded_units bigint NOT NULL,
    device_ns bigint NOT NULL,
    cost_pico bigint NOT NULL,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone NOT NULL,
    CONSTRAINT pk_batches PRIMARY KEY (id),
    CONSTRAINT ck_batches_cost CHECK (device_ns >= 0 AND cost_pico >= 0),
    CONSTRAINT ck_batches_lane CHECK (lane IN ('express', 'bulk')),
    CONSTRAINT ck_batches_units CHECK (rows > 0 AND units >= 0 AND padded_units >= units)
);

CREATE TABLE endings (
    job uuid NOT NULL,
    xid xid8 NOT NULL DEFAULT (pg_current_xact_id()),
    chunk integer NOT NULL,
    tasks bytea NOT NULL,
    CONSTRAINT pk_endings PRIMARY KEY (job, xid, chunk),
    CONSTRAINT ck_endings_tasks CHECK (octet_length(tasks) > 0)
);

CREATE TABLE events (
    id bigint GENERATED ALWAYS AS IDENTITY,
    xid xid8 NOT NULL DEFAULT (pg_current_xact_id()),
    tenant uuid NOT NULL,
    job uuid,
    type text NOT NULL,
    data jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT pk_events PRIMARY KEY (id),
    CONSTRAINT ck_events_type CHECK (type ~ '^[a-z_]+[.][a-z_]+$')
);

CREATE TABLE models (
    name text NOT NULL,
    version text NOT NULL,
    current boolean NOT NULL,
    kind text NOT NULL,
    manifest jsonb NOT NULL,
    profile jsonb,
    sha256 text NOT NULL,
    file_bytes bigint NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT pk_models PRIMARY KEY (name, version),
    CONSTRAINT ck_models_file_bytes CHECK (file_bytes >= 0),
    CONSTRAINT ck_models_kind CHECK (kind IN ('tensor', 'text')),
    CONSTRAINT ck_models_names CHECK (name <> '' AND version <> '' AND position('@' in name) = 0),
    CONSTRAINT ck_models_sha256 CHECK (sha256 ~ '^[0-9a-f]{64}$')
);

CREATE TABLE results (
  job uuid NOT NULL,
  seq integer NOT NULL,
  chunk integer NOT NULL,
  custom_id text NOT NULL,
  status text NOT NULL,
  output bytea,
  content_type text,
  error_code text,
  error_message text,
  model text NOT NULL,
  turns smallint NOT NULL,
  cost_pico bigint NOT NULL,
  batch uuid,
  queued_us bigint NOT NULL,
  staged_us integer NOT NULL,
  device_us integer NOT NULL,
  total_us bigint NOT NULL,
  finished_at timestamp with time zone NOT NULL,
  CONSTRAINT pk_results PRIMARY KEY (job, seq),
  CONSTRAINT ck_results_status CHECK (status IN ('succeeded', 'failed', 'expired', 'cancelled')),
  CONSTRAINT ck_results_error CHECK ((status = 'succeeded') = (error_code IS NULL) AND (error_code IS NULL) = (error_message IS NULL)),
  CONSTRAINT ck_results_output CHECK ((status = 'succeeded') = (output IS NOT NULL) AND (output IS NULL) = (content_type IS NULL)),
  CONSTRAINT ck_results_cost_pico CHECK (cost_pico >= 0)
) PARTITION BY RANGE (job);
CREATE TABLE results_default PARTITION OF results DEFAULT;

CREATE TABLE scheduler_epoch (
    one boolean NOT NULL DEFAULT TRUE,
    epoch bigint NOT NULL,
    instance uuid NOT NULL,
    taken_at timestamp with time zone NOT NULL,
    CONSTRAINT pk_scheduler_epoch PRIMARY KEY (one),
    CONSTRAINT ck_scheduler_epoch_epoch CHECK (epoch >= 0),
    CONSTRAINT ck_scheduler_epoch_one CHECK (one)
);

CREATE TABLE tenants (
    id uuid NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT pk_tenants PRIMARY KEY (id),
    CONSTRAINT ck_tenants_name CHECK (name <> '')
);

CREATE TABLE workers (
    id uuid NOT NULL,
    name text NOT NULL,
    pool text NOT NULL,
    provider text NOT NULL,
    device text NOT NULL,
    price_per_hour_pico bigint NOT NULL,
    state text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    last_seen timestamp with time zone NOT NULL,
    uptime_ns bigint NOT NULL DEFAULT 0,
    accounted_ns bigint NOT NULL DEFAULT 0,
    begun jsonb NOT NULL DEFAULT ('[]'),
    ended_at timestamp with time zone,
    CONSTRAINT pk_workers PRIMARY KEY (id),
    CONSTRAINT ck_workers_begun CHECK (jsonb_typeof(begun) = 'array'),
    CONSTRAINT ck_workers_clock CHECK (uptime_ns >= 0 AND accounted_ns >= 0 AND price_per_hour_pico >= 0),
    CONSTRAINT ck_workers_ended_at CHECK ((state = 'alive') = (ended_at IS NULL)),
    CONSTRAINT ck_workers_state CHECK (state IN ('alive', 'stopped', 'lost'))
);

CREATE TABLE api_keys (
    id uuid NOT NULL,
    tenant uuid NOT NULL,
    name text NOT NULL,
    hash bytea NOT NULL,
    prefix text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    revoked_at timestamp with time zone,
    CONSTRAINT pk_api_keys PRIMARY KEY (id),
    CONSTRAINT ck_api_keys_hash CHECK (octet_length(hash) = 32),
    CONSTRAINT fk_api_keys_tenants FOREIGN KEY (tenant) REFERENCES tenants (id) ON DELETE CASCADE
);

CREATE TABLE idempotency_keys (
    tenant uuid NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    job uuid,
    status integer,
    response bytea,
    created_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone,
    CONSTRAINT pk_idempotency_keys PRIMARY KEY (tenant, key),
    CONSTRAINT ck_idempotency_keys_finished CHECK ((finished_at IS NOT NULL) = (status IS NOT NULL) AND (status IS NOT NULL) = (response IS NOT NULL)),
    CONSTRAINT ck_idempotency_keys_key CHECK (key <> ''),
    CONSTRAINT fk_idempotency_keys_tenants FOREIGN KEY (tenant) REFERENCES tenants (id) ON DELETE CASCADE
);

CREATE TABLE jobs (
    id uuid NOT NULL,
    tenant uuid NOT NULL,
    model text NOT NULL,
    model_version text NOT NULL,
    class text NOT NULL,
    state text NOT NULL,
    paused boolean NOT NULL DEFAULT FALSE,
    tasks integer NOT NULL DEFAULT 0,
    units bigint NOT NULL DEFAULT 0,
    chunks integer NOT NULL DEFAULT 0,
    open_chunks integer NOT NULL DEFAULT 0,
    succeeded integer,
    failed integer,
    expired integer,
    cancelled integer,
    cost_pico numeric,
    deadline timestamp with time zone NOT NULL,
    predicted_at timestamp with time zone,
    webhook text,
    metadata jsonb NOT NULL DEFAULT ('{}'),
    max_cost_pico bigint,
    retry_of uuid,
    error jsonb,
    created_at timestamp with time zone NOT NULL,
    queued_at timestamp with time zone,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    CONSTRAINT pk_jobs PRIMARY KEY (id),
    CONSTRAINT ck_jobs_class CHECK (class IN ('express', 'standard', 'bulk')),
    CONSTRAINT ck_jobs_counts CHECK (tasks >= 0 AND units >= 0 AND chunks >= 0 AND chunks <= tasks),
    CONSTRAINT ck_jobs_error CHECK ((state = 'failed') = (error IS NOT NULL)),
    CONSTRAINT ck_jobs_finished_at CHECK ((state IN ('completed', 'failed', 'expired', 'cancelled')) = (finished_at IS NOT NULL)),
    CONSTRAINT ck_jobs_open_chunks CHECK (open_chunks BETWEEN 0 AND chunks AND CASE WHEN state IN ('queued', 'running') THEN open_chunks > 0 WHEN state IN ('cancelling', 'failed') THEN true ELSE open_chunks = 0 END),
    CONSTRAINT ck_jobs_queued_at CHECK (CASE WHEN state = 'receiving' THEN queued_at IS NULL WHEN state IN ('queued', 'running', 'finalizing', 'completed') THEN queued_at IS NOT NULL ELSE true END),
    CONSTRAINT ck_jobs_started_at CHECK (CASE WHEN state IN ('receiving', 'queued') THEN started_at IS NULL WHEN state IN ('running', 'finalizing', 'completed') THEN started_at IS NOT NULL ELSE true END),
    CONSTRAINT ck_jobs_state CHECK (state IN ('receiving', 'queued', 'running', 'finalizing', 'completed', 'failed', 'expired', 'cancelling', 'cancelled')),
    CONSTRAINT ck_jobs_totals CHECK (num_nonnulls(succeeded, failed, expired, cancelled, cost_pico) = CASE WHEN state IN ('finalizing', 'completed', 'expired', 'cancelled') THEN 5 WHEN state = 'failed' AND succeeded IS NOT NULL THEN 5 ELSE 0 END),
    CONSTRAINT ck_jobs_totals_sum CHECK (succeeded + failed + expired + cancelled = tasks),
    CONSTRAINT fk_jobs_tenants FOREIGN KEY (tenant) REFERENCES tenants (id) ON DELETE RESTRICT
);

CREATE TABLE ledger (
    id bigint GENERATED ALWAYS AS IDENTITY,
    worker uuid NOT NULL,
    account text NOT NULL,
    from_ns bigint NOT NULL,
    to_ns bigint NOT NULL,
    ns bigint NOT NULL,
    pico bigint NOT NULL,
    detail text,
    at timestamp with time zone NOT NULL,
    CONSTRAINT pk_ledger PRIMARY KEY (id),
    CONSTRAINT ck_ledger_account CHECK (account IN ('task', 'padding', 'idle', 'warm_up', 'waste')),
    CONSTRAINT ck_ledger_interval CHECK (from_ns >= 0 AND to_ns >= from_ns),
    CONSTRAINT fk_ledger_workers FOREIGN KEY (worker) REFERENCES workers (id) ON DELETE CASCADE
);

CREATE TABLE chunks (
    job uuid NOT NULL,
    no integer NOT NULL,
    first_seq integer NOT NULL,
    tasks integer NOT NULL,
    units bigint NOT NULL,
    units_max integer NOT NULL,
    remaining integer NOT NULL,
    succeeded integer NOT NULL DEFAULT 0,
    failed integer NOT NULL DEFAULT 0,
    expired integer NOT NULL DEFAULT 0,
    cancelled integer NOT NULL DEFAULT 0,
    cost_pico bigint NOT NULL DEFAULT 0,
    attempts integer NOT NULL DEFAULT 0,
    announced_at timestamp with time zone,
    payload bytea NOT NULL,
    CONSTRAINT pk_chunks PRIMARY KEY (job, no),
    CONSTRAINT ck_chunks_attempts CHECK (attempts >= 0),
    CONSTRAINT ck_chunks_cost_pico CHECK (cost_pico >= 0),
    CONSTRAINT ck_chunks_counts CHECK (remaining >= 0 AND succeeded >= 0 AND failed >= 0 AND expired >= 0 AND cancelled >= 0 AND remaining + succeeded + failed + expired + cancelled = tasks),
    CONSTRAINT ck_chunks_tasks CHECK (tasks > 0 AND no >= 0 AND first_seq >= 0 AND units >= 0 AND units_max >= 0),
    CONSTRAINT fk_chunks_jobs FOREIGN KEY (job) REFERENCES jobs (id) ON DELETE CASCADE
);

CREATE INDEX ix_api_keys_tenant ON api_keys (tenant);

CREATE UNIQUE INDEX ux_api_keys_hash ON api_keys (hash);

CREATE INDEX ix_chunks_open ON chunks (job, no) WHERE remaining > 0;

CREATE INDEX ix_chunks_unannounced ON chunks (job, no) WHERE announced_at IS NULL;

CREATE INDEX ix_events_job ON events (job, id);

CREATE INDEX ix_idempotency_keys_created_at ON idempotency_keys (created_at);

CREATE INDEX ix_jobs_open ON jobs (state, id) WHERE finished_at IS NULL;

CREATE INDEX ix_jobs_tenant ON jobs (tenant, id DESC);

CREATE INDEX ix_ledger_worker ON ledger (worker, from_ns);

CREATE UNIQUE INDEX ux_models_current ON models (name) WHERE current;

CREATE UNIQUE INDEX ux_tenants_name ON tenants (name);

CREATE INDEX ix_workers_alive ON workers (id) WHERE ended_at IS NULL;

ALTER TABLE chunks ALTER COLUMN payload SET STORAGE EXTERNAL;

INSERT INTO scheduler_epoch (epoch, instance, taken_at) VALUES (0, '00000000-0000-0000-0000-000000000000', now());

INSERT INTO "__EFMigrationsHistory" ("MigrationId", "ProductVersion")
VALUES ('20261121012010_Initial', '10.0.14');

CREATE TABLE files (
    id uuid NOT NULL,
    tenant uuid NOT NULL,
    purpose text NOT NULL,
    filename text NOT NULL,
    bytes bigint,
    part_bytes integer NOT NULL,
    sha256 bytea,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    CONSTRAINT pk_files PRIMARY KEY (id),
    CONSTRAINT ck_files_bytes CHECK (bytes >= 0 AND part_bytes > 0),
    CONSTRAINT ck_files_names CHECK (purpose <> '' AND filename <> ''),
    CONSTRAINT ck_files_sha256 CHECK ((bytes IS NULL) = (sha256 IS NULL)),
    CONSTRAINT fk_files_tenants FOREIGN KEY (tenant) REFERENCES tenants (id) ON DELETE RESTRICT
);

CREATE TABLE openai_batches (
    job uuid NOT NULL,
    tenant uuid NOT NULL,
    endpoint text NOT NULL,
    input_file uuid NOT NULL,
    completion_window text NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    class text NOT NULL,
    metadata jsonb NOT NULL DEFAULT ('{}'),
    output_seconds integer NOT NULL,
    created_at timestamp with time zone NOT NULL,
    model text,
    lines integer,
    cancelling_at timestamp with time zone,
    errors jsonb,
    finished_at timestamp with time zone,
    finalizing_at timestamp with time zone,
    lines_completed integer,
    lines_failed integer,
    output_file uuid,
    error_file uuid,
    input_tokens bigint,
    CONSTRAINT pk_openai_batches PRIMARY KEY (job),
    CONSTRAINT ck_openai_batches_class CHECK (class IN ('express', 'standard', 'bulk')),
    CONSTRAINT ck_openai_batches_endpoint CHECK (endpoint LIKE '/%' AND completion_window <> ''),
    CONSTRAINT ck_openai_batches_errors CHECK (errors IS NULL OR finished_at IS NOT NULL),
    CONSTRAINT ck_openai_batches_files CHECK (num_nonnulls(output_file, error_file, lines_completed, lines_failed, input_tokens) = 0 OR finished_at IS NOT NULL),
    CONSTRAINT ck_openai_batches_lines CHECK (lines >= 0 AND lines_completed + lines_failed <= lines),
    CONSTRAINT fk_openai_batches_tenants FOREIGN KEY (tenant) REFERENCES tenants (id) ON DELETE RESTRICT
);

CREATE TABLE file_parts (
    file uuid NOT NULL,
    no integer NOT NULL,
    data bytea NOT NULL,
    CONSTRAINT pk_file_parts PRIMARY KEY (file, no),
    CONSTRAINT ck_file_parts_no CHECK (no >= 0 AND octet_length(data) > 0),
    CONSTRAINT fk_file_parts_files FOREIGN KEY (file) REFERENCES files (id) ON DELETE CASCADE
);

CREATE INDEX ix_files_expires_at ON files (expires_at) WHERE expires_at IS NOT NULL;

CREATE INDEX ix_files_incomplete ON files (created_at) WHERE bytes IS NULL;

CREATE INDEX ix_files_tenant ON files (tenant, id DESC);

CREATE INDEX ix_openai_batches_input ON openai_batches (input_file) WHERE finished_at IS NULL;

CREATE INDEX ix_openai_batches_open ON openai_batches (job) WHERE finished_at IS NULL;

CREATE INDEX ix_openai_batches_tenant ON openai_batches (tenant, job DESC);

ALTER TABLE file_parts ALTER COLUMN data SET STORAGE EXTERNAL;

INSERT INTO "__EFMigrationsHistory" ("MigrationId", "ProductVersion")
VALUES ('20261126123919_AddFilesAndOpenAiBatches', '10.0.14');

ALTER TABLE batches ADD split_method text NOT NULL DEFAULT ('units.v1');

ALTER TABLE api_keys ADD operator boolean NOT NULL DEFAULT FALSE;

CREATE TABLE pool_prices (
    pool text NOT NULL,
    valid_from timestamp with time zone NOT NULL,
    price_per_hour_pico bigint NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT pk_pool_prices PRIMARY KEY (pool, valid_from),
    CONSTRAINT ck_pool_prices_pool CHECK (pool <> ''),
    CONSTRAINT ck_pool_prices_price CHECK (price_per_hour_pico BETWEEN 0 AND 10000000000000000),
    CONSTRAINT ck_pool_prices_valid_from CHECK (valid_from >= '2000-01-01 00:00Z' AND valid_from < '2200-01-01 00:00Z')
);

ALTER TABLE batches ADD CONSTRAINT ck_batches_split_method CHECK (split_method IN ('units.v1', 'equal.v1', 'padded.v1'));

CREATE FUNCTION device_prices(of_pool text, started_at timestamptz, configured bigint)
RETURNS TABLE (from_ns bigint, price_per_hour_pico bigint) LANGUAGE sql STABLE AS $$
  SELECT 0::bigint, coalesce(
    (SELECT p.price_per_hour_pico FROM pool_prices p
     WHERE p.pool = $1 AND p.valid_from <= $2 ORDER BY p.valid_from DESC LIMIT 1), $3)
  UNION ALL
  SELECT (extract(epoch FROM p.valid_from - $2) * 1000000000)::bigint, p.price_per_hour_pico FROM pool_prices p
  WHERE p.pool = $1 AND p.valid_from > $2
$$;

CREATE FUNCTION device_cost(of_pool text, started_at timestamptz, configured bigint, from_ns bigint, to_ns bigint)
RETURNS numeric LANGUAGE sql STABLE AS $$
  SELECT coalesce(sum(
    div(least(s.until_ns, $5) * s.price, 3600000000000) - div(greatest(s.from_ns, $4) * s.price, 3600000000000)), 0)
  FROM (
    SELECT d.from_ns::numeric AS from_ns, d.price_per_hour_pico::numeric AS price,
           lead(d.from_ns, 1, 9223372036854775807) OVER (ORDER BY d.from_ns)::numeric AS until_ns
    FROM device_prices($1, $2, $3) AS d
  ) AS s
  WHERE s.from_ns < $5 AND s.until_ns > $4
$$;

CREATE FUNCTION ledger_difference(of_worker uuid DEFAULT NULL)
RETURNS TABLE (worker uuid, ns numeric, pico numeric, intervals bigint) LANGUAGE sql STABLE AS $$
  WITH intervals AS (
    SELECT l.worker, l.from_ns, l.to_ns, sum(l.ns) AS ns, sum(l.pico) AS pico FROM ledger l
    WHERE $1 IS NULL OR l.worker = $1 GROUP BY l.worker, l.from_ns, l.to_ns
  ), checked AS (
    SELECT i.worker, i.ns, i.pico,
           i.from_ns <> lag(i.to_ns, 1, 0::bigint) OVER (PARTITION BY i.worker ORDER BY i.from_ns, i.to_ns)
           OR i.ns <> i.to_ns - i.from_ns
           OR i.pico <> device_cost(w.pool, w.started_at, w.price_per_hour_pico, i.from_ns, i.to_ns) AS broken
    FROM intervals i JOIN workers w ON w.id = i.worker
  ), sums AS (
    SELECT c.worker, sum(c.ns) AS ns, sum(c.pico) AS pico, count(*) FILTER (WHERE c.broken) AS broken
    FROM checked c GROUP BY c.worker
  )
  SELECT w.id, coalesce(s.ns, 0) - w.accounted_ns,
         coalesce(s.pico, 0) - device_cost(w.pool, w.started_at, w.price_per_hour_pico, 0, w.accounted_ns),
         coalesce(s.broken, 0)
  FROM workers w LEFT JOIN sums s ON s.worker = w.id
  WHERE $1 IS NULL OR w.id = $1
$$;

INSERT INTO "__EFMigrationsHistory" ("MigrationId", "ProductVersion")
VALUES ('20261126161255_AddPoolPrices', '10.0.14');

ALTER TABLE batches DROP CONSTRAINT ck_batches_cost;

ALTER TABLE results ADD units integer NOT NULL DEFAULT 0;

ALTER TABLE jobs ADD cancel_reason text;

ALTER TABLE jobs ADD estimate_pico bigint;

ALTER TABLE jobs ADD per_million_units_pico bigint;

ALTER TABLE jobs ADD reserved_pico bigint;

ALTER TABLE jobs ADD units_done bigint;

ALTER TABLE chunks ADD units_done bigint NOT NULL DEFAULT 0;

ALTER TABLE batches ADD padding_pico bigint NOT NULL DEFAULT 0;

CREATE TABLE prices (
    id bigint GENERATED ALWAYS AS IDENTITY,
    class text NOT NULL,
    model text,
    valid_from timestamp with time zone NOT NULL,
    per_million_units_pico bigint NOT NULL,
    currency text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT pk_prices PRIMARY KEY (id),
    CONSTRAINT ck_prices_class CHECK (class IN ('express', 'standard', 'bulk')),
    CONSTRAINT ck_prices_currency CHECK (currency = 'USD'),
    CONSTRAINT ck_prices_model CHECK (model <> ''),
    CONSTRAINT ck_prices_price CHECK (per_million_units_pico BETWEEN 0 AND 100000000000000000)
);

CREATE TABLE tenant_budgets (
    tenant uuid NOT NULL,
    limit_pico bigint NOT NULL,
    warn_percents integer[] NOT NULL,
    CONSTRAINT pk_tenant_budgets PRIMARY KEY (tenant),
    CONSTRAINT ck_tenant_budgets_limit CHECK (limit_pico >= 0),
    CONSTRAINT ck_tenant_budgets_warn CHECK (1 <= ALL (warn_percents) AND 100 >= ALL (warn_percents)),
    CONSTRAINT fk_tenant_budgets_tenants FOREIGN KEY (tenant) REFERENCES tenants (id) ON DELETE CASCADE
);

CREATE TABLE tenant_months (
    tenant uuid NOT NULL,
    month date NOT NULL,
    spent_pico numeric NOT NULL,
    warned_percent integer NOT NULL,
    CONSTRAINT pk_tenant_months PRIMARY KEY (tenant, month),
    CONSTRAINT ck_tenant_months_month CHECK (extract(day FROM month) = 1),
    CONSTRAINT fk_tenant_months_tenants FOREIGN KEY (tenant) REFERENCES tenants (id) ON DELETE CASCADE
);

ALTER TABLE jobs ADD CONSTRAINT ck_jobs_cancel_reason CHECK (cancel_reason IS NULL OR state IN ('cancelling', 'cancelled'));

ALTER TABLE jobs ADD CONSTRAINT ck_jobs_prices CHECK (per_million_units_pico >= 0 AND estimate_pico >= 0 AND reserved_pico >= 0 AND units_done >= 0);

ALTER TABLE chunks ADD CONSTRAINT ck_chunks_units_done CHECK (units_done >= 0);

ALTER TABLE batches ADD CONSTRAINT ck_batches_cost CHECK (device_ns >= 0 AND cost_pico >= 0 AND padding_pico BETWEEN 0 AND cost_pico);

CREATE UNIQUE INDEX ux_prices_valid_from ON prices (class, model, valid_from) NULLS NOT DISTINCT;

CREATE FUNCTION reserve_budget(of_tenant uuid, accepted_at timestamptz, amount bigint)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  budget tenant_budgets;
  spent numeric;
  warned int;
  first date := date_trunc('month', accepted_at AT TIME ZONE 'UTC')::date;
  threshold int;
BEGIN
  SELECT * INTO budget FROM tenant_budgets b WHERE b.tenant = of_tenant;
  IF NOT FOUND OR amount IS NULL OR accepted_at IS NULL THEN
    RETURN NULL;
  END IF;
  INSERT INTO tenant_months (tenant, month, spent_pico, warned_percent) VALUES (of_tenant, first, 0, 0)
  ON CONFLICT DO NOTHING;
  SELECT m.spent_pico, m.warned_percent INTO spent, warned FROM tenant_months m
  WHERE m.tenant = of_tenant AND m.month = first FOR UPDATE;
  IF spent + amount > budget.limit_pico THEN
    RAISE EXCEPTION USING ERRCODE = 'PB402', MESSAGE = format('%s %s', spent, budget.limit_pico);
  END IF;
  FOR threshold IN
    SELECT DISTINCT p FROM unnest(budget.warn_percents) AS p
    WHERE p > warned AND (spent + amount) * 100 >= budget.limit_pico::numeric * p ORDER BY p
  LOOP
    warned := threshold;
    INSERT INTO events (tenant, type, data, created_at)
    VALUES (of_tenant, 'budget.warning', jsonb_build_object('month', to_char(first, 'YYYY-MM'), 'percent', threshold,
            'spent_pico_usd', spent + amount, 'limit_pico_usd', budget.limit_pico), accepted_at);
  END LOOP;
  UPDATE tenant_months m SET spent_pico = spent + amount, warned_percent = warned
  WHERE m.tenant = of_tenant AND m.month = first;
  RETURN amount;
END
$$;

INSERT INTO "__EFMigrationsHistory" ("MigrationId", "ProductVersion")
VALUES ('20261126162629_AddPricesAndBudgets', '10.0.14');

ALTER TABLE results ADD COLUMN IF NOT EXISTS units integer NOT NULL DEFAULT 0;

ALTER TABLE ledger ADD COLUMN xid xid8 NOT NULL DEFAULT '3';
ALTER TABLE ledger ALTER COLUMN xid SET DEFAULT pg_current_xact_id();

CREATE TABLE allocated_days (
    day date NOT NULL,
    pool text NOT NULL,
    price_per_hour_pico bigint NOT NULL,
    tenant uuid NOT NULL,
    class text NOT NULL,
    model text NOT NULL,
    tasks bigint NOT NULL,
    units bigint NOT NULL,
    cost_pico bigint NOT NULL,
    CONSTRAINT pk_allocated_days PRIMARY KEY (day, pool, price_per_hour_pico, tenant, class, model),
    CONSTRAINT ck_allocated_days_class CHECK (class IN ('express', 'standard', 'bulk'))
);

CREATE TABLE device_days (
    day date NOT NULL,
    pool text NOT NULL,
    price_per_hour_pico bigint NOT NULL,
    account text NOT NULL,
    detail text NOT NULL,
    ns bigint NOT NULL,
    pico bigint NOT NULL,
    CONSTRAINT pk_device_days PRIMARY KEY (day, pool, price_per_hour_pico, account, detail),
    CONSTRAINT ck_device_days_account CHECK (account IN ('task', 'padding', 'idle', 'warm_up', 'waste'))
);

CREATE TABLE rollups (
    one boolean NOT NULL DEFAULT TRUE,
    xid xid8 NOT NULL,
    at timestamp with time zone NOT NULL,
    CONSTRAINT pk_rollups PRIMARY KEY (one),
    CONSTRAINT ck_rollups_one CHECK (one)
);

CREATE TABLE usage_days (
    day date NOT NULL,
    tenant uuid NOT NULL,
    class text NOT NULL,
    model text NOT NULL,
    succeeded bigint NOT NULL,
    failed bigint NOT NULL,
    expired bigint NOT NULL,
    cancelled bigint NOT NULL,
    units bigint NOT NULL,
    turns bigint NOT NULL,
    device_ns bigint NOT NULL,
    cost_pico bigint NOT NULL,
    CONSTRAINT pk_usage_days PRIMARY KEY (tenant, day, class, model),
    CONSTRAINT ck_usage_days_class CHECK (class IN ('express', 'standard', 'bulk'))
);

INSERT INTO rollups (xid, at) VALUES ('0', now());

CREATE INDEX ix_ledger_xid ON ledger (xid);

CREATE INDEX ix_endings_xid ON endings (xid);

INSERT INTO "__EFMigrationsHistory" ("MigrationId", "ProductVersion")
VALUES ('20261126163644_AddUsageRollups', '10.0.14');

ALTER TABLE usage_days ADD reused_cache bigint NOT NULL DEFAULT 0;

ALTER TABLE usage_days ADD reused_job bigint NOT NULL DEFAULT 0;

ALTER TABLE usage_days ADD saved_pico bigint NOT NULL DEFAULT 0;

ALTER TABLE results ADD reused text;

ALTER TABLE results ADD saved_pico bigint;

ALTER TABLE jobs ADD uses_cache boolean NOT NULL DEFAULT FALSE;

CREATE TABLE tenant_caches (
    tenant uuid NOT NULL,
    ttl interval NOT NULL,
    bytes_max bigint NOT NULL,
    entries_max bigint NOT NULL,
    bytes bigint NOT NULL DEFAULT 0,
    entries bigint NOT NULL DEFAULT 0,
    CONSTRAINT pk_tenant_caches PRIMARY KEY (tenant),
    CONSTRAINT ck_tenant_caches_bounds CHECK (ttl > interval '0' AND bytes_max > 0 AND entries_max > 0),
    CONSTRAINT ck_tenant_caches_sums CHECK (bytes >= 0 AND entries >= 0),
    CONSTRAINT fk_tenant_caches_tenants FOREIGN KEY (tenant) REFERENCES tenants (id) ON DELETE CASCADE
);

CREATE TABLE cached_results (
    tenant uuid NOT NULL,
    key bytea NOT NULL,
    model text NOT NULL,
    output bytea NOT NULL,
    content_type text NOT NULL,
    units integer NOT NULL,
    cost_pico bigint NOT NULL,
    bytes integer NOT NULL,
    made_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT pk_cached_results PRIMARY KEY (tenant, key),
    CONSTRAINT ck_cached_results_key CHECK (octet_length(key) = 32),
    CONSTRAINT fk_cached_results_tenant_caches FOREIGN KEY (tenant) REFERENCES tenant_caches (tenant) ON DELETE CASCADE
);

ALTER TABLE results ADD CONSTRAINT ck_results_reused CHECK ((reused IS NULL) = (saved_pico IS NULL) AND (reused IS NULL OR reused IN ('job', 'cache') AND saved_pico >= 0 AND status = 'succeeded' AND cost_pico = 0 AND batch IS NULL));

CREATE INDEX ix_cached_results_expires_at ON cached_results (expires_at);

CREATE INDEX ix_cached_results_made_at ON cached_results (tenant, made_at);

INSERT INTO "__EFMigrationsHistory" ("MigrationId", "ProductVersion")
VALUES ('20261126194224_AddReuse', '10.0.14');

ALTER TABLE jobs DROP CONSTRAINT ck_jobs_counts;

ALTER TABLE chunks DROP CONSTRAINT ck_chunks_counts;

ALTER TABLE jobs ADD route jsonb;

ALTER TABLE chunks ALTER COLUMN payload DROP NOT NULL;

ALTER TABLE chunks ADD escalated integer NOT NULL DEFAULT 0;

ALTER TABLE chunks ADD model text;

ALTER TABLE chunks ADD own bytea;

ALTER TABLE chunks ADD root integer;

ALTER TABLE chunks ADD turn smallint NOT NULL DEFAULT 1;

CREATE TABLE routes (
    name text NOT NULL,
    version integer NOT NULL,
    variants jsonb NOT NULL,
    quality jsonb,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT pk_routes PRIMARY KEY (name, version),
    CONSTRAINT ck_routes_name CHECK (name <> '' AND position('@' in name) = 0 AND version >= 1),
    CONSTRAINT ck_routes_variants CHECK (jsonb_array_length(variants) >= 2)
);

CREATE TABLE turns (
    job uuid NOT NULL,
    seq integer NOT NULL,
    turn smallint NOT NULL,
    chunk integer NOT NULL,
    model text NOT NULL,
    batch uuid NOT NULL,
    units integer NOT NULL,
    cost_pico bigint NOT NULL,
    finished_at timestamp with time zone NOT NULL,
    xid xid8 NOT NULL DEFAULT (pg_current_xact_id()),
    CONSTRAINT pk_turns PRIMARY KEY (job, seq, turn),
    CONSTRAINT ck_turns_turn CHECK (turn >= 1 AND units >= 0 AND cost_pico >= 0)
);

ALTER TABLE jobs ADD CONSTRAINT ck_jobs_counts CHECK (tasks >= 0 AND units >= 0 AND chunks >= 0 AND (chunks <= tasks OR route IS NOT NULL));

CREATE INDEX ix_chunks_escalated ON chunks (job, first_seq) WHERE remaining > 0 AND root IS NOT NULL;

ALTER TABLE chunks ADD CONSTRAINT ck_chunks_counts CHECK (remaining >= 0 AND succeeded >= 0 AND failed >= 0 AND expired >= 0 AND cancelled >= 0 AND escalated >= 0 AND remaining + succeeded + failed + expired + cancelled + escalated = tasks);

ALTER TABLE chunks ADD CONSTRAINT ck_chunks_turn CHECK (turn >= 1 AND (turn = 1) = (root IS NULL) AND (root IS NULL) = (own IS NULL) AND (root IS NULL) = (model IS NULL) AND (root IS NULL) = (payload IS NOT NULL));

CREATE INDEX ix_turns_xid ON turns (xid);

INSERT INTO "__EFMigrationsHistory" ("MigrationId", "ProductVersion")
VALUES ('20261126200247_AddRoutes', '10.0.14');

ALTER TABLE jobs ADD forecast_cost_pico bigint;

ALTER TABLE jobs ADD forecast_us bigint;

ALTER TABLE jobs ADD group_name text;

ALTER TABLE jobs ADD predicted_cost_pico bigint;

ALTER TABLE jobs ADD predicted_early_at timestamp with time zone;

ALTER TABLE jobs ADD predicted_late_at timestamp with time zone;

CREATE TABLE calibration_days (
    day date NOT NULL,
    class text NOT NULL,
    model text NOT NULL,
    jobs bigint NOT NULL,
    covered bigint NOT NULL,
    time_error double precision NOT NULL,
    time_error_absolute double precision NOT NULL,
    cost_jobs bigint NOT NULL,
    cost_error double precision NOT NULL,
    cost_error_absolute double precision NOT NULL,
    CONSTRAINT pk_calibration_days PRIMARY KEY (day, class, model),
    CONSTRAINT ck_calibration_days_class CHECK (class IN ('express', 'standard', 'bulk')),
    CONSTRAINT ck_calibration_days_jobs CHECK (jobs >= covered AND covered >= 0 AND jobs >= cost_jobs AND cost_jobs >= 0)
);

CREATE TABLE groups (
    tenant uuid NOT NULL,
    name text NOT NULL,
    first_at timestamp with time zone,
    last_at timestamp with time zone,
    requests bigint NOT NULL DEFAULT 0,
    succeeded bigint NOT NULL DEFAULT 0,
    turns bigint NOT NULL DEFAULT 0,
    cost_pico numeric NOT NULL DEFAULT 0.0,
    price_millionths numeric NOT NULL DEFAULT 0.0,
    models text[] NOT NULL DEFAULT ('{}'),
    classes text[] NOT NULL DEFAULT ('{}'),
    accepted boolean,
    value numeric,
    reported_at timestamp with time zone,
    CONSTRAINT pk_groups PRIMARY KEY (tenant, name),
    CONSTRAINT ck_groups_amounts CHECK (cost_pico >= 0 AND price_millionths >= 0),
    CONSTRAINT ck_groups_name CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$'),
    CONSTRAINT ck_groups_outcome CHECK ((accepted IS NULL) = (reported_at IS NULL) AND (value IS NULL OR accepted IS NOT NULL)),
    CONSTRAINT ck_groups_requests CHECK (requests >= succeeded AND succeeded >= 0 AND turns >= 0),
    CONSTRAINT ck_groups_times CHECK ((requests > 0) = (first_at IS NOT NULL) AND (first_at IS NULL) = (last_at IS NULL)),
    CONSTRAINT fk_groups_tenants FOREIGN KEY (tenant) REFERENCES tenants (id) ON DELETE CASCADE
);

CREATE TABLE task_groups (
    job uuid NOT NULL,
    chunk integer NOT NULL,
    name text NOT NULL,
    tenant uuid NOT NULL,
    tasks smallint[] NOT NULL,
    CONSTRAINT pk_task_groups PRIMARY KEY (job, chunk, name),
    CONSTRAINT ck_task_groups_name CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$'),
    CONSTRAINT ck_task_groups_tasks CHECK (cardinality(tasks) > 0 AND 0 <= ALL (tasks)),
    CONSTRAINT fk_task_groups_jobs FOREIGN KEY (job) REFERENCES jobs (id) ON DELETE CASCADE
);

CREATE INDEX ix_jobs_group ON jobs (tenant, group_name) WHERE group_name IS NOT NULL;

ALTER TABLE jobs ADD CONSTRAINT ck_jobs_group_name CHECK (group_name ~ '^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$');

ALTER TABLE jobs ADD CONSTRAINT ck_jobs_predicted CHECK (predicted_early_at <= predicted_at AND predicted_at <= predicted_late_at AND predicted_cost_pico >= 0 AND forecast_us >= 0 AND forecast_cost_pico >= 0);

CREATE INDEX ix_events_ends ON events (xid) WHERE type IN ('job.completed', 'job.expired');

CREATE INDEX ix_groups_first_at ON groups (tenant, first_at);

CREATE INDEX ix_task_groups_tenant ON task_groups (tenant, name);

INSERT INTO "__EFMigrationsHistory" ("MigrationId", "ProductVersion")
VALUES ('20261126201539_AddOutcomesAndCalibration', '10.0.14');

ALTER TABLE events ADD fanned_out boolean NOT NULL DEFAULT TRUE;

ALTER TABLE events ALTER COLUMN fanned_out SET DEFAULT FALSE;

CREATE TABLE webhook_attempts (
    delivery uuid NOT NULL,
    no integer NOT NULL,
    at timestamp with time zone NOT NULL,
    duration_ms integer NOT NULL,
    status integer,
    error text,
    response text,
    CONSTRAINT pk_webhook_attempts PRIMARY KEY (delivery, no),
    CONSTRAINT ck_webhook_attempts_no CHECK (no > 0 AND duration_ms >= 0)
);

CREATE TABLE webhook_endpoints (
    id uuid NOT NULL,
    tenant uuid NOT NULL,
    callback boolean NOT NULL DEFAULT FALSE,
    url text NOT NULL,
    description text NOT NULL,
    event_types text[] NOT NULL,
    state text NOT NULL,
    disabled_reason text,
    failing_since timestamp with time zone,
    failures integer NOT NULL DEFAULT 0,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT pk_webhook_endpoints PRIMARY KEY (id),
    CONSTRAINT ck_webhook_endpoints_callback CHECK (callback = (cardinality(event_types) = 0)),
    CONSTRAINT ck_webhook_endpoints_failing CHECK ((failing_since IS NOT NULL) = (failures > 0) AND failures >= 0),
    CONSTRAINT ck_webhook_endpoints_reason CHECK ((state = 'disabled') = (disabled_reason IS NOT NULL)),
    CONSTRAINT ck_webhook_endpoints_state CHECK (state IN ('enabled', 'disabled', 'deleted')),
    CONSTRAINT fk_webhook_endpoints_tenants FOREIGN KEY (tenant) REFERENCES tenants (id) ON DELETE RESTRICT
);

CREATE TABLE webhook_secrets (
    id bigint GENERATED ALWAYS AS IDENTITY,
    owner uuid NOT NULL,
    signing text NOT NULL,
    key bytea NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    CONSTRAINT pk_webhook_secrets PRIMARY KEY (id),
    CONSTRAINT ck_webhook_secrets_signing CHECK (signing IN ('hmac_sha256', 'ed25519'))
);

CREATE TABLE webhook_deliveries (
    id uuid NOT NULL,
    tenant uuid NOT NULL,
    endpoint uuid NOT NULL,
    event bigint NOT NULL,
    job uuid,
    seq integer,
    type text NOT NULL,
    url text,
    state text NOT NULL,
    reason text,
    due_at timestamp with time zone,
    attempts integer NOT NULL DEFAULT 0,
    attempts_before integer NOT NULL DEFAULT 0,
    last_status integer,
    last_error text,
    created_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone,
    CONSTRAINT pk_webhook_deliveries PRIMARY KEY (id),
    CONSTRAINT ck_webhook_deliveries_attempts CHECK (attempts_before BETWEEN 0 AND attempts),
    CONSTRAINT ck_webhook_deliveries_due CHECK ((state = 'pending') = (due_at IS NOT NULL)),
    CONSTRAINT ck_webhook_deliveries_finished CHECK ((state = 'pending') = (finished_at IS NULL)),
    CONSTRAINT ck_webhook_deliveries_reason CHECK ((state = 'failed') = (reason IS NOT NULL)),
    CONSTRAINT ck_webhook_deliveries_state CHECK (state IN ('pending', 'delivered', 'failed')),
    CONSTRAINT fk_webhook_deliveries_webhook_endpoints FOREIGN KEY (endpoint) REFERENCES webhook_endpoints (id) ON DELETE RESTRICT
);

CREATE INDEX ix_events_fan_out ON events (id) WHERE NOT fanned_out AND type <> 'job.queued';

CREATE INDEX ix_webhook_deliveries_endpoint ON webhook_deliveries (endpoint, id DESC);

CREATE INDEX ix_webhook_deliveries_failed ON webhook_deliveries (endpoint, id) WHERE state = 'failed';

CREATE INDEX ix_webhook_deliveries_job ON webhook_deliveries (job) WHERE job IS NOT NULL;

CREATE INDEX ix_webhook_deliveries_queue ON webhook_deliveries (endpoint, due_at) WHERE state = 'pending';

CREATE INDEX ix_webhook_deliveries_tenant ON webhook_deliveries (tenant, id DESC);

CREATE INDEX ix_webhook_endpoints_tenant ON webhook_endpoints (tenant, id DESC);

CREATE UNIQUE INDEX ux_webhook_endpoints_callback ON webhook_endpoints (tenant, url) WHERE callback;

CREATE INDEX ix_webhook_secrets_owner ON webhook_secrets (owner);

CREATE UNIQUE INDEX ux_webhook_secrets_current ON webhook_secrets (owner) WHERE expires_at IS NULL;

INSERT INTO "__EFMigrationsHistory" ("MigrationId", "ProductVersion")
VALUES ('20261126210500_AddWebhooks', '10.0.14');

ALTER TABLE jobs ADD traceparent text;

INSERT INTO "__EFMigrationsHistory" ("MigrationId", "ProductVersion")
VALUES ('20261126224426_AddTraceparent', '10.0.14');

CREATE TABLE reports (
    id uuid NOT NULL,
    tenant uuid NOT NULL,
    all_tenants boolean NOT NULL,
    occasion text NOT NULL,
    from_at timestamp with time zone NOT NULL,
    to_at timestamp with time zone NOT NULL,
    time_zone text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    body bytea NOT NULL,
    CONSTRAINT pk_reports PRIMARY KEY (id),
    CONSTRAINT ck_reports_occasion CHECK (occasion IN ('request', 'week', 'month')),
    CONSTRAINT ck_reports_window CHECK (from_at < to_at),
    CONSTRAINT fk_reports_tenants FOREIGN KEY (tenant) REFERENCES tenants (id) ON DELETE CASCADE
);

CREATE TABLE sla_breaches (
    job uuid NOT NULL,
    kind text NOT NULL,
    at timestamp with time zone NOT NULL,
    tenant uuid NOT NULL,
    class text NOT NULL,
    model text NOT NULL,
    state text NOT NULL,
    queued_at timestamp with time zone NOT NULL,
    deadline timestamp with time zone NOT NULL,
    predicted_at timestamp with time zone,
    target_us bigint NOT NULL,
    total_us bigint NOT NULL,
    tasks integer NOT NULL,
    failed integer NOT NULL,
    expired integer NOT NULL,
    queued_us bigint NOT NULL,
    staged_us bigint NOT NULL,
    device_us bigint NOT NULL,
    worker_losses integer NOT NULL,
    paused boolean NOT NULL,
    CONSTRAINT pk_sla_breaches PRIMARY KEY (job, kind),
    CONSTRAINT ck_sla_breaches_class CHECK (class IN ('express', 'standard', 'bulk')),
    CONSTRAINT ck_sla_breaches_kind CHECK (kind IN ('job', 'callback'))
);

CREATE TABLE sla_callbacks (
    at timestamp with time zone NOT NULL,
    tenant uuid NOT NULL,
    delivered bigint NOT NULL,
    punctual bigint NOT NULL,
    failed bigint NOT NULL,
    CONSTRAINT pk_sla_callbacks PRIMARY KEY (at, tenant),
    CONSTRAINT ck_sla_callbacks_punctual CHECK (punctual BETWEEN 0 AND delivered AND failed >= 0)
);

CREATE TABLE sla_days (
    at timestamp with time zone NOT NULL,
    tenant uuid NOT NULL,
    class text NOT NULL,
    model text COLLATE "C" NOT NULL,
    band100 bigint NOT NULL,
    band1000 bigint NOT NULL,
    band500 bigint NOT NULL,
    band800 bigint NOT NULL,
    band_more bigint NOT NULL,
    batch_rows bigint NOT NULL,
    cancelled bigint NOT NULL,
    client_faults bigint NOT NULL,
    cost_pico bigint NOT NULL,
    device bytea NOT NULL,
    expired bigint NOT NULL,
    failed bigint NOT NULL,
    first_result bytea NOT NULL,
    job_total bytea NOT NULL,
    jobs_completed bigint NOT NULL,
    jobs_expired bigint NOT NULL,
    jobs_within bigint NOT NULL,
    padded_units bigint NOT NULL,
    price_pico bigint NOT NULL,
    queued bytea NOT NULL,
    ran bigint NOT NULL,
    reused_cache bigint NOT NULL,
    reused_job bigint NOT NULL,
    saved_pico bigint NOT NULL,
    staged bytea NOT NULL,
    succeeded bigint NOT NULL,
    total bytea NOT NULL,
    units bigint NOT NULL,
    within bigint NOT NULL,
    writing bytea NOT NULL,
    CONSTRAINT pk_sla_days PRIMARY KEY (at, tenant, class, model),
    CONSTRAINT ck_sla_days_class CHECK (class IN ('express', 'standard', 'bulk'))
);

CREATE TABLE sla_doors (
    at timestamp with time zone NOT NULL,
    tenant uuid NOT NULL,
    class text NOT NULL,
    instance uuid NOT NULL,
    accepted bigint NOT NULL,
    limited bigint NOT NULL,
    client_faults bigint NOT NULL,
    failed bigint NOT NULL,
    disconnects bigint[] NOT NULL,
    CONSTRAINT pk_sla_doors PRIMARY KEY (at, tenant, class, instance),
    CONSTRAINT ck_sla_doors_class CHECK (class IN ('express', 'standard', 'bulk')),
    CONSTRAINT ck_sla_doors_disconnects CHECK (cardinality(disconnects) = 5)
);

CREATE TABLE sla_exclusions (
    id uuid NOT NULL,
    from_at timestamp with time zone NOT NULL,
    to_at timestamp with time zone NOT NULL,
    reason text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    withdrawn_at timestamp with time zone,
    CONSTRAINT pk_sla_exclusions PRIMARY KEY (id),
    CONSTRAINT ck_sla_exclusions_minutes CHECK (from_at < to_at AND extract(second FROM from_at) = 0 AND extract(second FROM to_at) = 0),
    CONSTRAINT ck_sla_exclusions_reason CHECK (reason <> '')
);

CREATE TABLE sla_hours (
    at timestamp with time zone NOT NULL,
    tenant uuid NOT NULL,
    class text NOT NULL,
    model text COLLATE "C" NOT NULL,
    band100 bigint NOT NULL,
    band1000 bigint NOT NULL,
    band500 bigint NOT NULL,
    band800 bigint NOT NULL,
    band_more bigint NOT NULL,
    batch_rows bigint NOT NULL,
    cancelled bigint NOT NULL,
    client_faults bigint NOT NULL,
    cost_pico bigint NOT NULL,
    device bytea NOT NULL,
    expired bigint NOT NULL,
    failed bigint NOT NULL,
    first_result bytea NOT NULL,
    job_total bytea NOT NULL,
    jobs_completed bigint NOT NULL,
    jobs_expired bigint NOT NULL,
    jobs_within bigint NOT NULL,
    padded_units bigint NOT NULL,
    price_pico bigint NOT NULL,
    queued bytea NOT NULL,
    ran bigint NOT NULL,
    reused_cache bigint NOT NULL,
    reused_job bigint NOT NULL,
    saved_pico bigint NOT NULL,
    staged bytea NOT NULL,
    succeeded bigint NOT NULL,
    total bytea NOT NULL,
    units bigint NOT NULL,
    within bigint NOT NULL,
    writing bytea NOT NULL,
    CONSTRAINT pk_sla_hours PRIMARY KEY (at, tenant, class, model),
    CONSTRAINT ck_sla_hours_class CHECK (class IN ('express', 'standard', 'bulk'))
);

CREATE TABLE sla_minutes (
    at timestamp with time zone NOT NULL,
    tenant uuid NOT NULL,
    class text NOT NULL,
    model text COLLATE "C" NOT NULL,
    band100 bigint NOT NULL,
    band1000 bigint NOT NULL,
    band500 bigint NOT NULL,
    band800 bigint NOT NULL,
    band_more bigint NOT NULL,
    batch_rows bigint NOT NULL,
    cancelled bigint NOT NULL,
    client_faults bigint NOT NULL,
    cost_pico bigint NOT NULL,
    device bytea NOT NULL,
    expired bigint NOT NULL,
    failed bigint NOT NULL,
    first_result bytea NOT NULL,
    job_total bytea NOT NULL,
    jobs_completed bigint NOT NULL,
    jobs_expired bigint NOT NULL,
    jobs_within bigint NOT NULL,
    padded_units bigint NOT NULL,
    price_pico bigint NOT NULL,
    queued bytea NOT NULL,
    ran bigint NOT NULL,
    reused_cache bigint NOT NULL,
    reused_job bigint NOT NULL,
    saved_pico bigint NOT NULL,
    staged bytea NOT NULL,
    succeeded bigint NOT NULL,
    total bytea NOT NULL,
    units bigint NOT NULL,
    within bigint NOT NULL,
    writing bytea NOT NULL,
    CONSTRAINT pk_sla_minutes PRIMARY KEY (at, tenant, class, model),
    CONSTRAINT ck_sla_minutes_class CHECK (class IN ('express', 'standard', 'bulk'))
);

CREATE INDEX ix_reports_tenant ON reports (tenant, id DESC);

CREATE UNIQUE INDEX ux_reports_period ON reports (tenant, all_tenants, occasion, from_at, time_zone) WHERE occasion <> 'request';

CREATE INDEX ix_sla_breaches_at ON sla_breaches (at);

CREATE INDEX ix_sla_exclusions_from_at ON sla_exclusions (from_at);

INSERT INTO "__EFMigrationsHistory" ("MigrationId", "ProductVersion")
VALUES ('20261126224536_AddSlaReports', '10.0.14');

ALTER TABLE chunks DROP CONSTRAINT ck_chunks_turn;

ALTER TABLE jobs ADD inputs_removed_at timestamp with time zone;

ALTER TABLE jobs ADD logs_removed_at timestamp with time zone;

ALTER TABLE jobs ADD outputs_removed_at timestamp with time zone;

CREATE TABLE erasures (
    id uuid NOT NULL,
    tenant uuid NOT NULL,
    job uuid,
    reason text NOT NULL,
    asked_by uuid NOT NULL,
    asked_at timestamp with time zone NOT NULL,
    through uuid,
    jobs integer NOT NULL DEFAULT 0,
    rows bigint NOT NULL DEFAULT 0,
    finished_at timestamp with time zone,
    CONSTRAINT pk_erasures PRIMARY KEY (id),
    CONSTRAINT ck_erasures_reason CHECK (reason <> '' AND jobs >= 0 AND rows >= 0),
    CONSTRAINT fk_erasures_tenants FOREIGN KEY (tenant) REFERENCES tenants (id) ON DELETE RESTRICT
);

CREATE TABLE recurring_runs (
    id bigint GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    outcome text,
    counts jsonb,
    error text,
    instance text NOT NULL,
    CONSTRAINT pk_recurring_runs PRIMARY KEY (id),
    CONSTRAINT ck_recurring_runs_counts CHECK ((outcome IS NOT DISTINCT FROM 'ok') = (counts IS NOT NULL)),
    CONSTRAINT ck_recurring_runs_ended CHECK ((ended_at IS NULL) = (outcome IS NULL) AND ended_at >= started_at),
    CONSTRAINT ck_recurring_runs_error CHECK ((outcome IS NOT DISTINCT FROM 'failed') = (error IS NOT NULL)),
    CONSTRAINT ck_recurring_runs_outcome CHECK (outcome IN ('ok', 'failed', 'interrupted'))
);

CREATE TABLE retention_ages (
    tenant uuid NOT NULL,
    class text NOT NULL,
    inputs interval,
    outputs interval,
    logs interval,
    CONSTRAINT pk_retention_ages PRIMARY KEY (tenant, class),
    CONSTRAINT ck_retention_ages_class CHECK (class IN ('all', 'express', 'standard', 'bulk')),
    CONSTRAINT ck_retention_ages_range CHECK (inputs >= interval '1 hour' AND outputs >= interval '1 hour' AND logs >= interval '1 hour'),
    CONSTRAINT ck_retention_ages_some CHECK (num_nonnulls(inputs, outputs, logs) > 0),
    CONSTRAINT fk_retention_ages_tenants FOREIGN KEY (tenant) REFERENCES tenants (id) ON DELETE CASCADE
);

CREATE TABLE job_removals (
    job uuid NOT NULL,
    kind text NOT NULL,
    next integer NOT NULL DEFAULT 0,
    erasure uuid,
    CONSTRAINT pk_job_removals PRIMARY KEY (job, kind),
    CONSTRAINT ck_job_removals_kind CHECK (kind IN ('inputs', 'outputs', 'logs') AND next >= 0),
    CONSTRAINT fk_job_removals_erasures FOREIGN KEY (erasure) REFERENCES erasures (id) ON DELETE RESTRICT,
    CONSTRAINT fk_job_removals_jobs FOREIGN KEY (job) REFERENCES jobs (id) ON DELETE CASCADE
);

CREATE INDEX ix_jobs_inputs_kept ON jobs (tenant, class, finished_at) WHERE finished_at IS NOT NULL AND inputs_removed_at IS NULL;

CREATE INDEX ix_jobs_logs_kept ON jobs (tenant, class, finished_at) WHERE finished_at IS NOT NULL AND logs_removed_at IS NULL;

CREATE INDEX ix_jobs_outputs_kept ON jobs (tenant, class, finished_at) WHERE finished_at IS NOT NULL AND outputs_removed_at IS NULL;

ALTER TABLE jobs ADD CONSTRAINT ck_jobs_removed CHECK (num_nonnulls(inputs_removed_at, outputs_removed_at, logs_removed_at) = 0 OR finished_at IS NOT NULL);

ALTER TABLE chunks ADD CONSTRAINT ck_chunks_payload CHECK (root IS NULL AND (payload IS NOT NULL OR remaining = 0) OR root IS NOT NULL AND payload IS NULL);

ALTER TABLE chunks ADD CONSTRAINT ck_chunks_turn CHECK (turn >= 1 AND (turn = 1) = (root IS NULL) AND (root IS NULL) = (own IS NULL) AND (root IS NULL) = (model IS NULL));

CREATE UNIQUE INDEX ux_erasures_open ON erasures (tenant, job) NULLS NOT DISTINCT WHERE finished_at IS NULL;

CREATE INDEX ix_job_removals_erasure ON job_removals (erasure) WHERE erasure IS NOT NULL;

CREATE INDEX ix_recurring_runs_name ON recurring_runs (name, id DESC);

CREATE SCHEMA quartz;
CREATE TABLE quartz.qrtz_job_details (
  sched_name text not null,
  job_name text not null,
  job_group text not null,
  description text null,
  job_class_name text not null,
  is_durable bool not null,
  is_nonconcurrent bool not null,
  is_update_data bool not null,
  requests_recovery bool not null,
  job_data bytea null,
  primary key (sched_name,job_name,job_group)
);
CREATE TABLE quartz.qrtz_triggers (
  sched_name text not null,
  trigger_name text not null,
  trigger_group text not null,
  job_name text not null,
  job_group text not null,
  description text null,
  next_fire_time bigint null,
  prev_fire_time bigint null,
  priority integer null,
  trigger_state text not null,
  trigger_type text not null,
  start_time bigint not null,
  end_time bigint null,
  calendar_name text null,
  misfire_instr smallint null,
  misfire_orig_fire_time bigint null,
  execution_group varchar(200) null,
  preferred_node varchar(200) null,
  preferred_node_auto bool not null default false,
  retry_policy varchar(250) null,
  retry_attempt integer null,
  continues_trigger_name text null,
  continues_trigger_group text null,
  continuation_condition integer null,
  overlap_policy integer null,
  pause_reason varchar(250) null,
  paused_by varchar(200) null,
  paused_at bigint null,
  misfire_threshold bigint null,
  fixed_delay bool null,
  job_data bytea null,
  primary key (sched_name,trigger_name,trigger_group),
  foreign key (sched_name,job_name,job_group) references quartz.qrtz_job_details (sched_name,job_name,job_group)
);
CREATE TABLE quartz.qrtz_simple_triggers (
  sched_name text not null,
  trigger_name text not null,
  trigger_group text not null,
  repeat_count bigint not null,
  repeat_interval bigint not null,
  times_triggered bigint not null,
  primary key (sched_name,trigger_name,trigger_group),
  foreign key (sched_name,trigger_name,trigger_group) references quartz.qrtz_triggers (sched_name,trigger_name,trigger_group) on delete cascade
);
CREATE TABLE quartz.qrtz_cron_triggers (
  sched_name text not null,
  trigger_name text not null,
  trigger_group text not null,
  cron_expression text not null,
  time_zone_id text,
  primary key (sched_name,trigger_name,trigger_group),
  foreign key (sched_name,trigger_name,trigger_group) references quartz.qrtz_triggers (sched_name,trigger_name,trigger_group) on delete cascade
);
CREATE TABLE quartz.qrtz_simprop_triggers (
  sched_name text not null,
  trigger_name text not null,
  trigger_group text not null,
  str_prop_1 text null,
  str_prop_2 text null,
  str_prop_3 text null,
  int_prop_1 integer null,
  int_prop_2 integer null,
  long_prop_1 bigint null,
  long_prop_2 bigint null,
  dec_prop_1 numeric null,
  dec_prop_2 numeric null,
  bool_prop_1 bool null,
  bool_prop_2 bool null,
  time_zone_id text null,
  primary key (sched_name,trigger_name,trigger_group),
  foreign key (sched_name,trigger_name,trigger_group) references quartz.qrtz_triggers (sched_name,trigger_name,trigger_group) on delete cascade
);
CREATE TABLE quartz.qrtz_blob_triggers (
  sched_name text not null,
  trigger_name text not null,
  trigger_group text not null,
  blob_data bytea null,
  primary key (sched_name,trigger_name,trigger_group),
  foreign key (sched_name,trigger_name,trigger_group) references quartz.qrtz_triggers (sched_name,trigger_name,trigger_group) on delete cascade
);
CREATE TABLE quartz.qrtz_calendars (
  sched_name text not null,
  calendar_name text not null,
  calendar bytea not null,
  primary key (sched_name,calendar_name)
);
CREATE TABLE quartz.qrtz_paused_trigger_grps (
  sched_name text not null,
  trigger_group text not null,
  pause_reason varchar(250) null,
  paused_by varchar(200) null,
  paused_at bigint null,
  primary key (sched_name,trigger_group)
);
CREATE TABLE quartz.qrtz_paused_job_grps (
  sched_name text not null,
  job_group text not null,
  pause_reason varchar(250) null,
  paused_by varchar(200) null,
  paused_at bigint null,
  primary key (sched_name,job_group)
);
CREATE TABLE quartz.qrtz_fired_triggers (
  sched_name text not null,
  entry_id text not null,
  trigger_name text not null,
  trigger_group text not null,
  instance_name text not null,
  fired_time bigint not null,
  sched_time bigint not null,
  priority integer not null,
  state text not null,
  job_name text null,
  job_group text null,
  is_nonconcurrent bool not null,
  requests_recovery bool null,
  execution_group varchar(200) null,
  progress integer null,
  progress_message varchar(250) null,
  interrupt_requested_time bigint null,
  primary key (sched_name,entry_id)
);
CREATE TABLE quartz.qrtz_scheduler_state (
  sched_name text not null,
  instance_name text not null,
  last_checkin_time bigint not null,
  checkin_interval bigint not null,
  quartz_version varchar(20) null,
  primary key (sched_name,instance_name)
);
CREATE TABLE quartz.qrtz_locks (
  sched_name text not null,
  lock_name text not null,
  primary key (sched_name,lock_name)
);
CREATE TABLE quartz.qrtz_execution_history (
  sched_name text not null,
  entry_id text not null,
  instance_name text not null,
  job_name text not null,
  job_group text not null,
  trigger_name text not null,
  trigger_group text not null,
  fired_time bigint not null,
  run_time bigint not null,
  succeeded bool not null,
  error_message text null,
  retry_attempt integer not null default 0,
  retry_scheduled bool not null default false,
  execution_log text null,
  result integer null,
  summary text null,
  metrics text null,
  manual bool null,
  fire_instance_id text null,
  job_input text null,
  job_input_too_large bool null,
  primary key (sched_name,entry_id)
);
CREATE TABLE quartz.qrtz_misfire_history (
  sched_name text not null,
  entry_id text not null,
  instance_name text not null,
  trigger_name text not null,
  trigger_group text not null,
  job_name text null,
  job_group text null,
  misfire_time bigint not null,
  sched_time bigint null,
  reason integer null,
  primary key (sched_name,entry_id)
);
CREATE TABLE quartz.qrtz_job_status (
  sched_name text not null,
  job_group text not null,
  job_name text not null,
  first_fired_time bigint not null,
  last_fired_time bigint not null,
  last_result integer not null,
  last_run_time bigint not null,
  last_instance_name text not null,
  last_entry_id text null,
  last_summary text null,
  last_success_time bigint null,
  last_failure_time bigint null,
  last_failure_message text null,
  consecutive_failures integer not null default 0,
  run_count bigint not null default 0,
  failure_count bigint not null default 0,
  primary key (sched_name,job_group,job_name)
);
CREATE INDEX idx_qrtz_j_g_n ON quartz.qrtz_job_details (sched_name, job_group, job_name);
CREATE INDEX idx_qrtz_t_j ON quartz.qrtz_triggers (sched_name, job_name, job_group);
CREATE INDEX idx_qrtz_t_g_n ON quartz.qrtz_triggers (sched_name, trigger_group, trigger_name);
CREATE INDEX idx_qrtz_t_c ON quartz.qrtz_triggers (sched_name, calendar_name);
CREATE INDEX idx_qrtz_t_nft_st ON quartz.qrtz_triggers (sched_name, trigger_state, next_fire_time asc, priority desc, misfire_instr);
CREATE INDEX idx_qrtz_ft_inst_job_req_rcvry ON quartz.qrtz_fired_triggers (sched_name, instance_name, requests_recovery);
CREATE INDEX idx_qrtz_ft_j_g ON quartz.qrtz_fired_triggers (sched_name, job_name, job_group);
CREATE INDEX idx_qrtz_ft_t_g ON quartz.qrtz_fired_triggers (sched_name, trigger_name, trigger_group);
CREATE INDEX idx_qrtz_eh_fired_time ON quartz.qrtz_execution_history (sched_name, fired_time);
CREATE INDEX idx_qrtz_eh_inst ON quartz.qrtz_execution_history (sched_name, instance_name);
CREATE INDEX idx_qrtz_mh_misfire_time ON quartz.qrtz_misfire_history (sched_name, misfire_time);
CREATE INDEX idx_qrtz_mh_inst ON quartz.qrtz_misfire_history (sched_name, instance_name);
CREATE INDEX idx_qrtz_eh_job_time ON quartz.qrtz_execution_history (sched_name, job_group, job_name, fired_time);
CREATE INDEX idx_qrtz_eh_fire_inst ON quartz.qrtz_execution_history (sched_name, fire_instance_id);
CREATE INDEX idx_qrtz_eh_trig_time ON quartz.qrtz_execution_history (sched_name, trigger_group, trigger_name, fired_time);

INSERT INTO "__EFMigrationsHistory" ("MigrationId", "ProductVersion")
VALUES ('20261126225359_AddRecurringWork', '10.0.14');

ALTER TABLE groups ADD routes text[] NOT NULL DEFAULT ('{}');

CREATE TABLE alert_rules (
    name text NOT NULL,
    enabled boolean,
    severity text,
    threshold double precision,
    for_seconds integer,
    changed_at timestamp with time zone NOT NULL,
    CONSTRAINT pk_alert_rules PRIMARY KEY (name),
    CONSTRAINT ck_alert_rules_for CHECK (for_seconds >= 0),
    CONSTRAINT ck_alert_rules_severity CHECK (severity IN ('info', 'warning', 'critical'))
);

CREATE TABLE alert_silences (
    id uuid NOT NULL,
    rule text,
    labels jsonb NOT NULL,
    starts_at timestamp with time zone NOT NULL,
    ends_at timestamp with time zone NOT NULL,
    reason text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT pk_alert_silences PRIMARY KEY (id),
    CONSTRAINT ck_alert_silences_time CHECK (starts_at < ends_at)
);

CREATE TABLE alerts (
    id uuid NOT NULL,
    rule text NOT NULL,
    fingerprint text NOT NULL,
    labels jsonb NOT NULL,
    state text NOT NULL,
    severity text NOT NULL,
    summary text NOT NULL,
    evidence jsonb NOT NULL,
    since timestamp with time zone NOT NULL,
    seen_at timestamp with time zone NOT NULL,
    raised_at timestamp with time zone,
    acknowledged_at timestamp with time zone,
    escalated_at timestamp with time zone,
    resolved_at timestamp with time zone,
    told boolean NOT NULL,
    silenced_by text,
    by_hand boolean NOT NULL DEFAULT FALSE,
    note text,
    CONSTRAINT pk_alerts PRIMARY KEY (id),
    CONSTRAINT ck_alerts_raised CHECK ((state = 'pending') = (raised_at IS NULL)),
    CONSTRAINT ck_alerts_resolved CHECK ((state = 'resolved') = (resolved_at IS NOT NULL)),
    CONSTRAINT ck_alerts_severity CHECK (severity IN ('info', 'warning', 'critical')),
    CONSTRAINT ck_alerts_state CHECK (state IN ('pending', 'firing', 'resolved'))
);

CREATE TABLE probes (
    name text NOT NULL,
    model text NOT NULL,
    class text NOT NULL,
    input jsonb NOT NULL,
    expect jsonb NOT NULL,
    tolerance double precision NOT NULL,
    every_seconds integer NOT NULL,
    slow_ms integer NOT NULL,
    enabled boolean NOT NULL,
    due_at timestamp with time zone NOT NULL,
    CONSTRAINT pk_probes PRIMARY KEY (name),
    CONSTRAINT ck_probes_bounds CHECK (every_seconds > 0 AND slow_ms > 0 AND tolerance >= 0),
    CONSTRAINT ck_probes_class CHECK (class IN ('express', 'standard', 'bulk'))
);

CREATE TABLE probe_runs (
    id bigint GENERATED ALWAYS AS IDENTITY,
    probe text NOT NULL,
    at timestamp with time zone NOT NULL,
    outcome text NOT NULL,
    took_ms integer NOT NULL,
    model text,
    detail text,
    CONSTRAINT pk_probe_runs PRIMARY KEY (id),
    CONSTRAINT ck_probe_runs_outcome CHECK (outcome IN ('right', 'wrong', 'slow', 'refused', 'failed')),
    CONSTRAINT fk_probe_runs_probes FOREIGN KEY (probe) REFERENCES probes (name) ON DELETE CASCADE
);

CREATE INDEX ix_alert_silences_ends ON alert_silences (ends_at);

CREATE INDEX ix_alerts_resolved ON alerts (resolved_at) WHERE state = 'resolved';

CREATE UNIQUE INDEX ux_alerts_open ON alerts (fingerprint) WHERE state <> 'resolved';

CREATE INDEX ix_probe_runs_at ON probe_runs (at);

CREATE INDEX ix_probe_runs_probe ON probe_runs (probe, id DESC);

CREATE INDEX ix_probes_due ON probes (due_at) WHERE enabled;

INSERT INTO "__EFMigrationsHistory" ("MigrationId", "ProductVersion")
VALUES ('20261127001535_AddAlertsAndGroupRoutes', '10.0.14');

CREATE TABLE audit (
    id uuid NOT NULL,
    at timestamp with time zone NOT NULL,
    operator uuid,
    operator_name text NOT NULL,
    action text NOT NULL,
    subject_kind text NOT NULL,
    subject text NOT NULL,
    tenant uuid,
    reason text,
    done boolean NOT NULL,
    detail text,
    before jsonb,
    after jsonb,
    address text,
    CONSTRAINT pk_audit PRIMARY KEY (id),
    CONSTRAINT ck_audit_action CHECK (action ~ '^[a-z_]+[.][a-z_]+$')
);

CREATE TABLE bulk_actions (
    id uuid NOT NULL,
    action text NOT NULL,
    query text NOT NULL,
    reason text NOT NULL,
    operator uuid NOT NULL,
    operator_name text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    items integer NOT NULL,
    done integer NOT NULL DEFAULT 0,
    refused integer NOT NULL DEFAULT 0,
    stopped boolean NOT NULL DEFAULT FALSE,
    finished_at timestamp with time zone,
    CONSTRAINT pk_bulk_actions PRIMARY KEY (id),
    CONSTRAINT ck_bulk_actions_action CHECK (action IN ('cancel', 'pause', 'resume', 'retry-failed')),
    CONSTRAINT ck_bulk_actions_counts CHECK (items > 0 AND done >= 0 AND refused >= 0 AND done + refused <= items)
);

CREATE TABLE data_protection_keys (
    name text NOT NULL,
    xml text NOT NULL,
    CONSTRAINT pk_data_protection_keys PRIMARY KEY (name)
);

CREATE TABLE operators (
    id uuid NOT NULL,
    name text NOT NULL,
    role text NOT NULL,
    password text,
    failures integer NOT NULL DEFAULT 0,
    locked_until timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    disabled_at timestamp with time zone,
    CONSTRAINT pk_operators PRIMARY KEY (id),
    CONSTRAINT ck_operators_failures CHECK (failures >= 0),
    CONSTRAINT ck_operators_name CHECK (name = lower(name) AND length(name) BETWEEN 1 AND 100),
    CONSTRAINT ck_operators_role CHECK (role IN ('viewer', 'operator', 'admin'))
);

CREATE TABLE bulk_action_items (
    bulk_action uuid NOT NULL,
    job uuid NOT NULL,
    tenant uuid NOT NULL,
    outcome text NOT NULL,
    detail text,
    CONSTRAINT pk_bulk_action_items PRIMARY KEY (bulk_action, job),
    CONSTRAINT ck_bulk_action_items_outcome CHECK (outcome IN ('waiting', 'done', 'refused', 'left_out')),
    CONSTRAINT fk_bulk_action_items_bulk_actions FOREIGN KEY (bulk_action) REFERENCES bulk_actions (id) ON DELETE CASCADE
);

CREATE TABLE operator_links (
    token bytea NOT NULL,
    role text,
    operator uuid,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT pk_operator_links PRIMARY KEY (token),
    CONSTRAINT ck_operator_links_role CHECK (role IN ('viewer', 'operator', 'admin')),
    CONSTRAINT ck_operator_links_token CHECK (octet_length(token) = 32),
    CONSTRAINT ck_operator_links_whose CHECK ((role IS NULL) <> (operator IS NULL)),
    CONSTRAINT fk_operator_links_operators FOREIGN KEY (operator) REFERENCES operators (id) ON DELETE CASCADE
);

CREATE TABLE operator_sessions (
    token bytea NOT NULL,
    operator uuid NOT NULL,
    created_at timestamp with time zone NOT NULL,
    last_seen timestamp with time zone NOT NULL,
    CONSTRAINT pk_operator_sessions PRIMARY KEY (token),
    CONSTRAINT ck_operator_sessions_token CHECK (octet_length(token) = 32),
    CONSTRAINT fk_operator_sessions_operators FOREIGN KEY (operator) REFERENCES operators (id) ON DELETE CASCADE
);

CREATE INDEX ix_results_failed ON results (job, seq) INCLUDE (error_code, model) WHERE status = 'failed';

CREATE INDEX ix_jobs_finished_at ON jobs (finished_at) WHERE finished_at IS NOT NULL;

CREATE INDEX ix_jobs_retry_of ON jobs (retry_of) WHERE retry_of IS NOT NULL;

CREATE INDEX ix_jobs_with_failures ON jobs (id) WHERE failed > 0;

CREATE INDEX ix_audit_subject ON audit (subject, id DESC);

CREATE INDEX ix_bulk_action_items_waiting ON bulk_action_items (bulk_action, job) WHERE outcome = 'waiting';

CREATE INDEX ix_bulk_actions_open ON bulk_actions (id) WHERE finished_at IS NULL;

CREATE INDEX ix_operator_links_operator ON operator_links (operator);

CREATE INDEX ix_operator_sessions_operator ON operator_sessions (operator);

CREATE UNIQUE INDEX ux_operators_name ON operators (name);

INSERT INTO "__EFMigrationsHistory" ("MigrationId", "ProductVersion")
VALUES ('20261127001807_AddDashboard', '10.0.14');

ALTER TABLE jobs DROP CONSTRAINT ck_jobs_predicted;

ALTER TABLE jobs ADD forecast_wait_us bigint;

ALTER TABLE jobs ADD CONSTRAINT ck_jobs_predicted CHECK (predicted_early_at <= predicted_at AND predicted_at <= predicted_late_at AND predicted_cost_pico >= 0 AND forecast_us >= 0 AND forecast_cost_pico >= 0 AND forecast_wait_us BETWEEN 0 AND forecast_us);

INSERT INTO "__EFMigrationsHistory" ("MigrationId", "ProductVersion")
VALUES ('20261127093500_AddForecastWait', '10.0.14');

ALTER TABLE sla_breaches ADD announced_us bigint NOT NULL DEFAULT 0;

ALTER TABLE sla_breaches ADD lost_us bigint NOT NULL DEFAULT 0;

ALTER TABLE sla_breaches ADD paused_us bigint NOT NULL DEFAULT 0;

ALTER TABLE sla_breaches ADD unit_ps bigint;

ALTER TABLE sla_breaches ADD usual_unit_ps bigint;

ALTER TABLE alerts ADD told_at timestamp with time zone;

CREATE TABLE recurring_loops (
    name text NOT NULL,
    purpose text NOT NULL,
    every interval NOT NULL,
    started_at timestamp with time zone,
    ended_at timestamp with time zone,
    error text,
    instance text,
    turns bigint NOT NULL DEFAULT 0,
    failures bigint NOT NULL DEFAULT 0,
    paused boolean NOT NULL DEFAULT FALSE,
    asked_at timestamp with time zone,
    CONSTRAINT pk_recurring_loops PRIMARY KEY (name),
    CONSTRAINT ck_recurring_loops_counts CHECK (failures BETWEEN 0 AND turns),
    CONSTRAINT ck_recurring_loops_turn CHECK (num_nonnulls(started_at, ended_at, instance) IN (0, 3) AND ended_at >= started_at)
);

UPDATE alerts SET told_at = raised_at WHERE told;

UPDATE sla_breaches SET paused_us = total_us WHERE paused;

ALTER TABLE alerts DROP COLUMN told;

ALTER TABLE sla_breaches DROP COLUMN paused;

INSERT INTO "__EFMigrationsHistory" ("MigrationId", "ProductVersion")
VALUES ('20261127093919_AddBreachDelays', '10.0.14');

ALTER TABLE jobs ADD class_since timestamp with time zone;

ALTER TABLE jobs ADD repriced_millionths numeric;

CREATE TABLE holds (
    kind text NOT NULL,
    name text NOT NULL,
    reason text NOT NULL,
    by text NOT NULL,
    at timestamp with time zone NOT NULL,
    CONSTRAINT pk_holds PRIMARY KEY (kind, name),
    CONSTRAINT ck_holds_kind CHECK (kind IN ('model', 'tenant', 'pool', 'worker')),
    CONSTRAINT ck_holds_name CHECK (length(name) BETWEEN 1 AND 200),
    CONSTRAINT ck_holds_reason CHECK (length(reason) BETWEEN 1 AND 500)
);

INSERT INTO "__EFMigrationsHistory" ("MigrationId", "ProductVersion")
VALUES ('20261127094700_AddHoldsAndClassChanges', '10.0.14');

ALTER TABLE sla_doors DROP CONSTRAINT pk_sla_doors;

ALTER TABLE sla_doors ADD model text COLLATE "C" NOT NULL DEFAULT '';

ALTER TABLE sla_doors ADD CONSTRAINT pk_sla_doors PRIMARY KEY (at, tenant, class, model, instance);

INSERT INTO "__EFMigrationsHistory" ("MigrationId", "ProductVersion")
VALUES ('20261127145527_AddDoorModels', '10.0.14');

ALTER TABLE bulk_actions DROP CONSTRAINT ck_bulk_actions_action;

ALTER TABLE endings ADD worker uuid;

ALTER TABLE bulk_actions ADD change jsonb;

CREATE TABLE dismissed_failures (
    job uuid NOT NULL,
    error_code text NOT NULL,
    model text NOT NULL,
    tasks integer NOT NULL,
    at timestamp with time zone NOT NULL,
    CONSTRAINT pk_dismissed_failures PRIMARY KEY (job, error_code, model),
    CONSTRAINT ck_dismissed_failures_tasks CHECK (tasks > 0),
    CONSTRAINT fk_dismissed_failures_jobs FOREIGN KEY (job) REFERENCES jobs (id) ON DELETE CASCADE
);

ALTER TABLE bulk_actions ADD CONSTRAINT ck_bulk_actions_action CHECK (action IN ('cancel', 'pause', 'resume', 'change', 'retry-failed', 'dismiss'));

ALTER TABLE bulk_actions ADD CONSTRAINT ck_bulk_actions_change CHECK ((action = 'change') = (change IS NOT NULL));

INSERT INTO "__EFMigrationsHistory" ("MigrationId", "ProductVersion")
VALUES ('20261127150256_AddDismissedFailures', '10.0.14');

ALTER TABLE api_keys ADD burst_max integer;

ALTER TABLE api_keys ADD concurrent_max integer;

ALTER TABLE api_keys ADD rate_per_second integer;

CREATE INDEX ix_api_keys_limits ON api_keys (id) WHERE rate_per_second IS NOT NULL OR burst_max IS NOT NULL OR concurrent_max IS NOT NULL;

ALTER TABLE api_keys ADD CONSTRAINT ck_api_keys_limits CHECK ((rate_per_second IS NULL OR rate_per_second BETWEEN 1 AND 1000000) AND (burst_max IS NULL OR burst_max BETWEEN 1 AND 1000000) AND (concurrent_max IS NULL OR concurrent_max BETWEEN 1 AND 1000000));

INSERT INTO "__EFMigrationsHistory" ("MigrationId", "ProductVersion")
VALUES ('20261127182158_AddApiKeyLimits', '10.0.14');

