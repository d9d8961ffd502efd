-- Accepted verdicts, one row each, by the UTC day of the verdict record's timestamp. Columns are the fields of
-- schemas/verdict.schema.json; `source` is spread over log, partition, source_offset, previous_offset and epoch.
CREATE TABLE sentra.verdicts (
    source_offset bigint NOT NULL,
    previous_offset bigint NOT NULL,
    epoch bigint NOT NULL,
    verdict_offset bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    decided_at timestamptz NOT NULL,
    event_time timestamptz,
    duplicate_of bigint,
    processing_time_ms bigint NOT NULL,
    day date NOT NULL,
    partition integer NOT NULL,
    velocity real,
    amount_anomaly real,
    device_new real,
    location_change real,
    risk_score smallint,
    schema_version smallint NOT NULL,
    log text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    transaction_id text COLLATE "C",
    phone_number text COLLATE "C",
    institution_id text COLLATE "C",
    amount numeric(15, 2),
    currency text COLLATE "C",
    risk_level text COLLATE "C",
    recommendation text COLLATE "C" NOT NULL,
    model_name text COLLATE "C",
    model_version text COLLATE "C",
    policy_version text COLLATE "C" NOT NULL,
    feature_digest text COLLATE "C",
    flags text[] NOT NULL,
    reasons json NOT NULL,
    features real[],
    raw json,
    CONSTRAINT verdicts_pkey PRIMARY KEY (day, log, partition, source_offset)
) PARTITION BY RANGE (day);

COMMENT ON TABLE sentra.verdicts IS 'Verdicts that count, each once, as the sink read them from the verdict topic.';
COMMENT ON COLUMN sentra.verdicts.day IS 'UTC day of recorded_at: name it in a question to read fewer partitions.';
COMMENT ON COLUMN sentra.verdicts.recorded_at IS 'The record''s timestamp in the verdict topic.';
COMMENT ON COLUMN sentra.verdicts.verdict_offset IS 'The record''s offset in the verdict topic.';
COMMENT ON COLUMN sentra.verdicts.features IS 'The 24 features of set v1 in table order, NaN where missing; NULL where the verdict has none.';
COMMENT ON COLUMN sentra.verdicts.raw IS 'The record''s value, where the columns would not give it back to the byte; else NULL.';

CREATE INDEX verdicts_transaction ON sentra.verdicts (transaction_id);
CREATE INDEX verdicts_phone ON sentra.verdicts (phone_number, day, recorded_at);
CREATE INDEX verdicts_alerts ON sentra.verdicts (day, recorded_at, log, partition, source_offset) WHERE risk_level <> 'LOW';

-- The application sees all rows, or those of one institution where its session names one.
ALTER TABLE sentra.verdicts ENABLE ROW LEVEL SECURITY;
CREATE POLICY institution ON sentra.verdicts FOR SELECT USING (
    coalesce(current_setting('sentra.institution', true), '') = ''
    OR institution_id = current_setting('sentra.institution', true)
);

-- Where the sink stands in each verdict topic: written in the transaction that writes the rows.
CREATE TABLE sentra.sink_progress (
    topic_id text COLLATE "C" NOT NULL,
    partition integer NOT NULL,
    log text COLLATE "C",
    next_offset bigint NOT NULL,
    epoch bigint,
    last_source bigint,
    written_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT sink_progress_pkey PRIMARY KEY (topic_id, partition),
    CONSTRAINT sink_progress_one_topic_a_log UNIQUE (log, partition)
) WITH (fillfactor = 50);

COMMENT ON TABLE sentra.sink_progress IS 'The next offset of each verdict partition, e of the reader''s rule, and the source offset that counted last.';

-- Makes a day's partition; false where it is there. Attached rather than created in place, so that it waits for no
-- question under way, nor makes any wait. Its rights are the owner's: the sink may call it, and own nothing.
CREATE FUNCTION sentra.make_day(wanted date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text := 'verdicts_' || to_char(wanted, 'YYYYMMDD');
BEGIN
    IF to_regclass('sentra.' || name) IS NOT NULL THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('sentra.make_day'));
    IF to_regclass('sentra.' || name) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE sentra.%I (LIKE sentra.verdicts INCLUDING DEFAULTS INCLUDING COMMENTS)', name);
    EXECUTE format('ALTER TABLE sentra.verdicts ATTACH PARTITION sentra.%I FOR VALUES FROM (%L) TO (%L)', name, wanted, wanted + 1);
    RETURN true;
END
$$;
REVOKE ALL ON FUNCTION sentra.make_day(date) FROM PUBLIC;
