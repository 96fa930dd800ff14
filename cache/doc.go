// Package cache is one cache for all processes of a machine that have a session of one instance.
//
//	c, err := cache.Open(ctx, session, "pages", cache.Options{Limit: 64 << 20, TTL: time.Hour})
//	page, err := c.Load(ctx, key, nil, func(ctx context.Context) ([]byte, error) { return render(ctx, key) })
//
// It adds to shm/logcache, the engine, what applications ask for: names, lifetimes, loads of which one is under way at a
// time on the whole machine, tags, counts for each session, resizing, values of Go types (Of). All workers see one
// cache, so its memory does not grow with their number, what one has loaded all others find, and a worker that is
// started later finds it warm. A worker that is killed, anywhere, spoils nothing and makes no other wait.
//
// All that the cache has in shared memory is one segment of Options.Limit bytes: the limit is exact. Names are those of
// package registry: registry.Delete takes a cache away, and registry.List lists caches with their kind, "cache".
//
// What it does not promise: that an entry stays. An entry goes by Delete, DeleteTag, Purge or a Set of its key, when
// its time is over, when its room is needed, or when a stray store of another process has hit it; Stats counts each.
// So Add is no lock, and Incr no account. There is no call when an entry goes, since it may go in another process. The
// cache lives as long as the instance: it is no file.
//
// Set is visible to all processes when it returns. Get, Peek, Has and Info take no lock and wait for no one. What
// stores takes the lock of a part of the cache for some microseconds; a process that is stopped while it has such a
// lock makes those wait who store in that part, until their contexts end, and the error names it.
//
// # Loads
//
// Load returns the value of a key or, if there is none, what f returns, which it sets. Of all goroutines of all
// processes that want a key one runs f, the others wait for it. If it is killed, the next one begins, some
// milliseconds later. If f fails, those who wait get its error; if it panics, an error that says so. If it finds that
// there is no value, it returns ErrNotFound, which Options.Negative remembers. If its own context ends, the next one
// begins.
//
// A Set, Delete or Purge of the key, or a DeleteTag of one of its tags, while f runs keeps the value that f returns
// out of the cache: it may be older than they are. So this pair of processes is right, in any order of their steps:
//
//	update the database, then Delete the key          Load the key from the database
//
// # The end
//
// Close ends the use of the cache by the caller; the cache stays. After Close, and after the end of the session, each
// call is ErrClosed, also Get: what is not known is not "not there". The zero Cache is a closed one. A Cache of Limit
// 0 is off: it finds nothing and stores nothing, so that a setting can switch a cache off.
//
// # Deaths
//
// Beside what package logcache says:
//
//	who dies                      leaves                                  and then
//	in Open, making               a name that is being made               the next Open makes it anew
//	making, published             a cache                                 -
//	claiming a row of counts      a row that names it                     the next Open without a row takes it; its counts stay
//	with counts not written yet   the counts of its last 100 ms           they are lost
//	in Load                       a row with a dead session               the next who wants the key loads it
package cache
