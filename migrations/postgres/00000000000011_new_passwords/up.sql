-- A link may also set a new password for an account that has none any more.
ALTER TABLE invitations ADD COLUMN account_id BIGINT REFERENCES users (id);
