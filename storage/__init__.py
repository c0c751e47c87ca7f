"""Makes protocol records durable: LevelDB, the write-ahead log, content-addressed files. Knows records, never rules."""

DISTRIBUTION = "flocknode"
