package parts

import "github.com/godsm/godsm/bench/figure"

// hashTable has no figures of ours before shm/dshash is there. PostgreSQL's side is ready: r.postgres(postgres.Posix, kind, entries,
// bytes of a value) with the kinds "hash get", "hash delete+insert" and "two hash get".
func hashTable(Rivals) []figure.Figure { return nil }
