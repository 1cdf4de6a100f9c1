-- The books are not undone by a command: restore the backup taken before the upgrade.
SELECT RAISE(ABORT, 'restore from a backup instead');
