"""Makes protocol records durable: LevelDB, the write-ahead log and content-addressed files. Knows records, never rules."""

DISTRIBUTION = "flocknode"
