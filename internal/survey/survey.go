// Package survey looks at all that an instance has, at once: sessions, segments, names, caches, locks, queues. It joins
// nothing and takes no lock.
//
// It adds over dsm.Look what the names stand for. All that shows an instance is made of a Survey: the metrics, the page, top,
// and the commands that list one kind. It does not promise that the parts are of one moment, nor that all parts can be read:
// what can't be has an error in its place, and the rest is there.
package survey

import (
	"context"
	"fmt"
	"io/fs"
	"math"
	"time"

	"github.com/godsm/godsm/batch/shared"
	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/locktable"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm/shmsync"
)

// Survey is what was seen.
type Survey struct {
	Begun  time.Time
	Took   time.Duration
	Report dsm.Report // without the root segment's bytes
	Names  []registry.Info
	Caches []Cache
	Tables []Table
	Queues []Queue
	Parts  map[dsm.Handle]registry.Info // of areas with names, at most maxAreas of them: which segments are theirs
	Err    error                        // why the names can't be read
	Events []dsm.Event                  // the latest first; ReadEvents adds them
}

// Cache is what was seen of a cache.
type Cache struct {
	registry.Info
	Stats cache.Stats
	Curve []cache.Point
	Err   error // why it can't be read
}

// Table is what was seen of a lock table. Locks and Waits are in the order of the locks' names.
type Table struct {
	registry.Info
	Locks []locktable.Info
	Waits []locktable.Edge // at most maxWaits
	Err   error            // why it can't be read
}

// Queue is what was seen of a queue of package batch/shared.
type Queue struct {
	registry.Info
	Stats shared.Stats
	Err   error // why it can't be read
}

// Take looks at the instance that runs in cfg.Dir. An error says that there is nothing to be seen.
func Take(ctx context.Context, cfg dsm.Config) (s Survey, err error) {
	return take(ctx, cfg, maxAreas, func(registry.Info) bool { return true })
}

// Brief is Take without a look into caches, lock tables and queues, and with the parts of all areas.
func Brief(ctx context.Context, cfg dsm.Config) (s Survey, err error) {
	return take(ctx, cfg, math.MaxInt, func(registry.Info) bool { return false })
}

// words are what people call the kinds.
var words = map[string]string{cache.Kind: "cache", locktable.Kind: "lock table", shared.Kind: "queue"}

// Find is Take for names of one kind: it looks into the one with that name, or into all of the kind if the name is empty. It
// returns an error, too, if the names can't be read, and one that matches fs.ErrNotExist if there is no such name.
func Find(ctx context.Context, cfg dsm.Config, kind, name string) (s Survey, err error) {
	found := false
	s, err = take(ctx, cfg, 0, func(x registry.Info) bool {
		is := x.Kind == kind && (name == "" || x.Name == name)
		found = found || is
		return is
	})
	switch {
	case err == nil && s.Err != nil:
		err = s.Err
	case err == nil && name != "" && !found:
		err = errkind.As(fs.ErrNotExist, fmt.Errorf("there is no %s %q: names lists what there is", words[kind], name))
	}
	return s, err
}

// take looks into what has a name that is ready, and is wanted, and learns the parts of at most so many areas.
func take(ctx context.Context, cfg dsm.Config, areas int, wanted func(registry.Info) bool) (s Survey, err error) {
	s.Begun = time.Now()
	err = dsm.Look(ctx, cfg, func(r dsm.Report, read func(dsm.Handle) ([]byte, error)) error {
		s.Report = r
		s.Names, s.Err = registry.Names(r)
		s.Parts = Parts(s.Names, areas, read)
		alive := living(r)
		for _, x := range s.Names {
			if x.State == "ready" && wanted(x) {
				s.add(x, read, alive)
			}
		}
		return nil
	})
	s.Report.Root = nil
	s.Took = time.Since(s.Begun)
	return s, err
}

// living returns a function that reports whether a session lives, as the report says.
func living(r dsm.Report) func(shmsync.Peer) bool {
	alive := make(map[string]bool, len(r.Sessions))
	for _, s := range r.Sessions {
		alive[s.Name] = s.State != "dead"
	}
	return func(p shmsync.Peer) bool { return alive[p.String()] }
}

// add looks at what a name stands for, if it is of a kind that can be read from outside.
func (s *Survey) add(x registry.Info, read reader, alive func(shmsync.Peer) bool) {
	switch x.Kind {
	case cache.Kind:
		s.Caches = append(s.Caches, readCache(x, read, alive))
	case locktable.Kind:
		s.Tables = append(s.Tables, readTable(x, read))
	case shared.Kind:
		s.Queues = append(s.Queues, readQueue(x, read))
	}
}

// NotRunning returns the processes of which a session is not running, with its state: stopped, closing, dead or unseen.
func (s *Survey) NotRunning() map[int]string {
	states := map[int]string{}
	for _, p := range s.Report.Sessions {
		if p.State != "running" {
			states[p.Pid] = string(p.State)
		}
	}
	return states
}

// Since returns the seconds from an earlier survey of the same generation of the same instance to this one. It returns 0 if
// there is none, or they are of two generations, so that no difference of their counts means anything.
func (s *Survey) Since(before *Survey) float64 {
	if before == nil {
		return 0
	}
	now, old := s.Report.Status, before.Report.Status
	if old.Instance != now.Instance || old.Generation != now.Generation {
		return 0
	}
	return max(s.Begun.Sub(before.Begun).Seconds(), 0)
}
