-- Administrators: five roles instead of one, invitations, a second factor. The audit log becomes a chain.

-- SQLite changes no CHECK in place. Whoever was an administrator stays one with every right.
ALTER TABLE users ADD COLUMN one_of_six TEXT NOT NULL DEFAULT 'user'
    CHECK (one_of_six IN ('user', 'owner', 'finance', 'support', 'auditor', 'developer'));
UPDATE users SET one_of_six = role;
ALTER TABLE users DROP COLUMN role;
ALTER TABLE users RENAME COLUMN one_of_six TO role;
-- Nobody signs in to it any more; what was done under its name stays.
ALTER TABLE users ADD COLUMN disabled_at BIGINT;
CREATE INDEX users_admins ON users (id) WHERE role <> 'user';

-- Where an administrator signed in; of payers nothing is kept.
ALTER TABLE sessions ADD COLUMN ip TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN device TEXT NOT NULL DEFAULT '';

-- Links that make one account of one role. The link holds the token, the table only its SHA-256.
CREATE TABLE invitations (
    token_hash TEXT   PRIMARY KEY NOT NULL,
    role       TEXT   NOT NULL CHECK (role IN ('owner', 'finance', 'support', 'auditor', 'developer')),
    for_whom   TEXT   NOT NULL,
    invited_by TEXT   NOT NULL,
    expires_at BIGINT NOT NULL
);

-- The secret an administrator's phone makes codes of, sealed with a key that is not in the books.
CREATE TABLE second_factors (
    user_id       BIGINT  PRIMARY KEY NOT NULL REFERENCES users (id),
    secret        TEXT    NOT NULL,
    -- It is asked for from here on; before, its owner has not shown that the phone has it.
    confirmed_at  BIGINT,
    -- The time step of the newest code that was taken: neither it nor an older one is taken again.
    last_step     BIGINT  NOT NULL DEFAULT 0,
    failures      BIGINT  NOT NULL DEFAULT 0,
    blocked_until BIGINT  NOT NULL DEFAULT 0
);

CREATE TABLE recovery_codes (
    user_id   BIGINT NOT NULL REFERENCES users (id),
    code_hash TEXT   NOT NULL,
    used_at   BIGINT,
    PRIMARY KEY (user_id, code_hash)
);

-- Browsers whose password was right and whose code is still asked for.
CREATE TABLE code_waits (
    browser_hash TEXT   PRIMARY KEY NOT NULL,
    user_id      BIGINT NOT NULL REFERENCES users (id),
    next         TEXT   NOT NULL,
    expires_at   BIGINT NOT NULL
);
CREATE INDEX code_waits_user ON code_waits (user_id);

-- Each row names the hash of the row before it and its own. Rows of before have neither: the first row of the chain
-- covers them.
ALTER TABLE audit_log ADD COLUMN prev TEXT NOT NULL DEFAULT '';
ALTER TABLE audit_log ADD COLUMN hash TEXT NOT NULL DEFAULT '';
-- Nothing forks.
CREATE UNIQUE INDEX audit_log_chain ON audit_log (prev) WHERE prev <> '';
CREATE INDEX audit_log_linked ON audit_log (id) WHERE hash <> '';

-- How far the chain was found whole, so that looking again costs what is new.
CREATE TABLE audit_seal (
    id     INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    row_id BIGINT  NOT NULL,
    hash   TEXT    NOT NULL,
    rows   BIGINT  NOT NULL,
    at     BIGINT  NOT NULL
);
INSERT INTO audit_seal (id, row_id, hash, rows, at) VALUES (1, 0, '', 0, 0);
CREATE TRIGGER audit_seal_forward BEFORE UPDATE ON audit_seal WHEN NEW.row_id < OLD.row_id
BEGIN SELECT RAISE(ABORT, 'the seal of the audit log never goes back'); END;
CREATE TRIGGER audit_seal_kept BEFORE DELETE ON audit_seal
BEGIN SELECT RAISE(ABORT, 'the seal of the audit log is never deleted'); END;
