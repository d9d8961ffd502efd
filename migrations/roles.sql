-- Three roles without a login; grant them to the users that log in (README, Postgres). They belong to the whole server:
-- another database's migration may make them at the same moment.
DO $$
BEGIN
    BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sentra_owner') THEN
            CREATE ROLE sentra_owner NOLOGIN;
        END IF;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END;
    BEGIN
        -- COPY is refused under row-level security.
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sentra_sink') THEN
            CREATE ROLE sentra_sink NOLOGIN BYPASSRLS;
        END IF;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END;
    BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sentra_app') THEN
            CREATE ROLE sentra_app NOLOGIN;
        END IF;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END;
END
$$;
