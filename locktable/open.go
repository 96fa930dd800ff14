package locktable

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/waitqueue"
)

// Kind is what registry.List calls a table.
const Kind = "locktable"

var kind = registry.Kind{Name: Kind, Type: "locks by name", Layout: shm.Layout[root]() ^ shm.Layout[head]() ^
	shm.Layout[waitqueue.Record]() ^ version}

// opened are the tables that sessions of this process have open.
var opened struct {
	sync.Mutex
	list map[place]*Table
}

type place struct {
	session *dsm.Session
	name    string
}

// Open opens the table of locks of that name of the instance, which the first to open it makes. A session has one
// Table of a name, which all callers share: o counts for the first one, and Close closes it for all; then it can be
// opened again. The end of the session closes it.
func Open(ctx context.Context, s *dsm.Session, name string, o Options) (*Table, error) {
	at := place{s, name}
	opened.Lock()
	defer opened.Unlock()
	if t := opened.list[at]; t != nil && !t.view.Ended() {
		return t, nil
	}
	if s == nil {
		return nil, fmt.Errorf("locktable: open %q: %w: there is no session", name, ErrClosed)
	}
	if o.Application == "" {
		if o.Application = s.Config().Application; o.Application == "" {
			o.Application = filepath.Base(os.Args[0])
		}
	}
	owner, err := s.Owner().Child("lock table " + name)
	if err != nil {
		return nil, fmt.Errorf("locktable: open %q: %w", name, err)
	}
	t, err := registry.InArea(ctx, s, name, kind, dsa.Options{Initial: 128 << 10, Sessions: 2046},
		func(a *dsa.Area) (*Table, dsa.Pointer, error) {
			t, err := Create(a, o)
			if err != nil {
				return nil, 0, err
			}
			return t, t.Handle(), nil
		},
		func(a *dsa.Area, p dsa.Pointer) (*Table, error) { return attachIn(ctx, a, p, o) },
		registry.Options{Owner: owner})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locktable: open %q: %w", name, err), owner.Abort())
	}
	use := &use{table: t, at: at}
	inner, err := owner.Child("use of lock table " + name) // which ends before what owner has: the area's segments
	if err == nil {
		err = inner.Remember(&use.item, use)
	}
	if err != nil {
		t.closeTable()
		return nil, errors.Join(fmt.Errorf("locktable: open %q: %w", name, err), owner.Abort())
	}
	t.end = func() { _ = owner.Abort() }
	if opened.list == nil {
		opened.list = map[place]*Table{}
	}
	opened.list[at] = t
	return t, nil
}
