-- Since when a provider is used: its bills are asked for from then on.

CREATE INDEX attempts_first ON attempts (provider, environment, created_at);
