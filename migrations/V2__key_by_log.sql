-- The key in the order in which one verdict is asked for, where the day is not known: with the day first each partition's
-- index was read whole. The same columns, so it asserts the same, and there is no index more. Until it is built nothing
-- reads or writes verdicts; scoring does not notice, and rows follow.
ALTER TABLE sentra.verdicts DROP CONSTRAINT verdicts_pkey;
ALTER TABLE sentra.verdicts ADD CONSTRAINT verdicts_pkey PRIMARY KEY (log, partition, source_offset, day);
