-- The books are not undone by a command: restore the backup taken before the upgrade.
DO $$ BEGIN RAISE EXCEPTION 'restore from a backup instead'; END $$;
