package top

import (
	"context"
	"strings"
	"time"

	"github.com/godsm/godsm/batch/shared"
	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/locks"
	"github.com/godsm/godsm/internal/command/queues"
	"github.com/godsm/godsm/internal/survey"
	"github.com/godsm/godsm/locktable"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm/shmsync"
)

// picture is what was seen of an instance.
type picture struct {
	at time.Time
	dsm.Report
	names  []registry.Info
	caches []cacheSight
	tables []locks.Table
	queues []queues.Row
	wrong  []string // what could not be read
}

// cacheSight is what was seen of a cache.
type cacheSight struct {
	info  registry.Info
	stats cache.Stats
	curve []cache.Point
	err   error
}

// take looks at the instance. What can't be read is told in the picture; an error means that there is none.
func take(ctx context.Context, cfg dsm.Config) (p *picture, err error) {
	p = &picture{at: time.Now()}
	err = dsm.Look(ctx, cfg, func(r dsm.Report, bytes func(dsm.Handle) ([]byte, error)) error {
		p.Report = r
		if p.names, err = registry.Names(r); err != nil {
			p.wrong = append(p.wrong, err.Error())
		}
		living := map[string]bool{}
		for _, s := range r.Sessions {
			living[s.Name] = s.State != dsm.SessionDead
		}
		alive := func(p shmsync.Peer) bool { return living[p.String()] }
		for _, x := range p.names {
			if x.State != registry.StateReady {
				continue
			}
			switch x.Kind {
			case cache.Kind:
				p.caches = append(p.caches, sightOf(x, bytes, alive))
			case locktable.Kind:
				t, err := locks.Look(x, bytes)
				if err != nil {
					p.wrong = append(p.wrong, x.Name+": "+err.Error())
					continue
				}
				p.tables = append(p.tables, t)
			case shared.Kind:
				p.queues = append(p.queues, queues.Look(x, bytes))
			}
		}
		return nil
	})
	return p, err
}

func sightOf(x registry.Info, bytes survey.Reader, alive func(shmsync.Peer) bool) cacheSight {
	c := cacheSight{info: x}
	c.stats, c.curve, c.err = survey.ReadCache(x, bytes, alive)
	return c
}

// locks returns the locks of all tables.
func (p *picture) locks() (rows []locks.Row) {
	for _, t := range p.tables {
		rows = append(rows, t.Locks...)
	}
	return rows
}

// waits returns who waits for whom.
func (p *picture) waits() (list []locks.Edge) {
	for _, t := range p.tables {
		list = append(list, t.Waits...)
	}
	return list
}

// since returns the seconds between two pictures of the same life of an instance; 0 if there is no such time.
func (p *picture) since(before *picture) float64 {
	if before == nil || before.Status.Instance != p.Status.Instance || before.Status.Generation != p.Status.Generation {
		return 0
	}
	return max(p.at.Sub(before.at).Seconds(), 0)
}

// rate returns how much a count went up in a second. One that went down began anew.
func rate(now, before uint64, seconds float64) float64 {
	if seconds == 0 {
		return 0
	}
	return float64(now-min(now, before)) / seconds
}

// bar draws a part of 1.
func bar(part float64, width int) string {
	n := int(min(max(part, 0), 1)*float64(width) + 0.5)
	return strings.Repeat("█", n) + strings.Repeat("░", width-n)
}
