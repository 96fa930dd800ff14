package filemap

import "golang.org/x/sys/unix"

// noSync keeps the system from writing a mapping back to disk all the time (PostgreSQL 34afbba84e).
const noSync = unix.MAP_NOSYNC

const noReserve = 0 // private pages are reserved only where vm.overcommit says so
