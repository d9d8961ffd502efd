-- The sink inserts and keeps its progress; the application reads the parent table alone, for a grant on a partition
-- would go round the parent's policies.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sentra_sink') THEN
        GRANT USAGE ON SCHEMA sentra TO sentra_sink;
        GRANT INSERT ON sentra.verdicts TO sentra_sink;
        GRANT SELECT, INSERT, UPDATE ON sentra.sink_progress TO sentra_sink;
        GRANT SELECT ON sentra.refinery_schema_history TO sentra_sink;
        GRANT EXECUTE ON FUNCTION sentra.make_day(date) TO sentra_sink;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sentra_app') THEN
        GRANT USAGE ON SCHEMA sentra TO sentra_app;
        GRANT SELECT ON sentra.verdicts, sentra.sink_progress, sentra.refinery_schema_history TO sentra_app;
    END IF;
END
$$;
