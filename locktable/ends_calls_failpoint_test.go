//go:build linux && failpoint

package locktable_test

import (
	"context"
	"testing"

	"github.com/godsm/godsm/locktable"
	"github.com/godsm/godsm/shm/roster"
)

type endCall func(t *testing.T, e *ending) func(short context.Context) error

// keep has a hold given back at the end.
func (e *ending) keep(h locktable.Hold, err error) error {
	if err == nil {
		e.late = append(e.late, func() { _ = h.Unlock() })
	}
	return err
}

// held returns a hold of the first session's.
func (e *ending) held(t *testing.T, m locktable.Mode, path ...string) locktable.Hold {
	h := lock(t, e.x, ctx, m, path...)
	e.late = append(e.late, func() { _ = h.Unlock() })
	return h
}

// busy has the other session hold a lock, until the end.
func (e *ending) busy(t *testing.T, m locktable.Mode, path ...string) locktable.Hold {
	h := lock(t, e.other, ctx, m, path...)
	e.late = append(e.late, func() { _ = h.Unlock() })
	return h
}

func locks(m locktable.Mode, path ...string) endCall {
	return func(_ *testing.T, e *ending) func(context.Context) error {
		return func(c context.Context) error { return e.keep(e.x.Lock(c, m, path...)) }
	}
}

func waits(f endCall) endCall {
	return func(t *testing.T, e *ending) func(context.Context) error {
		e.busy(t, locktable.Exclusive, "busy")
		return f(t, e)
	}
}

// on makes a call with a hold.
func on(m locktable.Mode, f func(c context.Context, e *ending, h locktable.Hold) error, path ...string) endCall {
	return func(t *testing.T, e *ending) func(context.Context) error {
		h := e.held(t, m, path...)
		return func(c context.Context) error { return f(c, e, h) }
	}
}

// named makes a call with a Name.
func named(f func(c context.Context, e *ending, n *locktable.Name) error, path ...string) endCall {
	return func(t *testing.T, e *ending) func(context.Context) error {
		h := e.held(t, locktable.Shared, path...) // so that the session has the intents of the parents
		n, err := e.x.Name(ctx, path...)
		must(t, err)
		must(t, h.Unlock())
		return func(c context.Context) error { return f(c, e, n) }
	}
}

func unlock(_ context.Context, _ *ending, h locktable.Hold) error { return h.Unlock() }

func several(path ...string) []locktable.Want {
	return []locktable.Want{{Mode: locktable.Exclusive, Path: []string{"a"}}, {Mode: locktable.Shared, Path: []string{"layers", "x"}},
		{Mode: locktable.Exclusive, Path: path}}
}

func (e *ending) keepAll(hs locktable.Holds, err error) error {
	if err == nil {
		e.late = append(e.late, func() { _ = hs.Unlock() })
	}
	return err
}

func looks[T any](list func(yield func(T) bool)) error {
	for range list {
	}
	return nil
}

// plain is a call that needs nothing before it.
func plain(f func(c context.Context, e *ending) error) endCall {
	return func(_ *testing.T, e *ending) func(context.Context) error {
		return func(c context.Context) error { return f(c, e) }
	}
}

// endCalls are the calls, by what they meet.
var endCalls = map[string]endCall{
	"Lock":                    locks(locktable.Exclusive, "a"),
	"Lock of a long name":     locks(locktable.Shared, endNames[6]...),
	"Lock below a parent":     locks(locktable.Exclusive, "layers", "x"),
	"Lock in an intent mode":  locks(locktable.IntentShared, "layers"),
	"Lock that waits in vain": waits(locks(locktable.Exclusive, "busy")),
	"Lock of an owner, in vain": waits(func(t *testing.T, e *ending) func(context.Context) error {
		return func(c context.Context) error {
			c, o := e.x.As(c, "waits")
			defer o.Done()
			return e.keep(e.x.Lock(c, locktable.Shared, "busy"))
		}
	}),
	"Lock that is called": func(t *testing.T, e *ending) func(context.Context) error {
		h := e.busy(t, locktable.Exclusive, "busy")
		e.at["locktable/wait/asleep"] = func() { _ = h.Unlock() }
		return func(context.Context) error { return e.keep(e.x.Lock(ctx, locktable.Shared, "busy")) }
	},
	"Lock beside another": func(t *testing.T, e *ending) func(context.Context) error {
		e.busy(t, locktable.Shared, "b")
		return func(c context.Context) error { return e.keep(e.x.Lock(c, locktable.Shared, "b")) }
	},
	"Lock that revokes an intent": func(t *testing.T, e *ending) func(context.Context) error {
		must(t, e.busy(t, locktable.Exclusive, "layers", "y").Unlock())
		return func(c context.Context) error { return e.keep(e.x.Lock(c, locktable.Exclusive, "layers")) }
	},
	"Lock of a dead session's": func(t *testing.T, e *ending) func(context.Context) error {
		dead := e.memory.Session(3)
		area, err := e.join(dead)
		must(t, err)
		x, err := locktable.Attach(area, e.other.Handle(), locktable.Options{Application: "dead"})
		must(t, err)
		lock(t, x, ctx, locktable.Exclusive, "b")
		dead.Swap()
		return func(context.Context) error { return e.keep(e.x.Lock(ctx, locktable.Exclusive, "b")) }
	},
	"TryLock in vain": waits(plain(func(c context.Context, e *ending) error {
		return e.keep(e.x.TryLock(c, locktable.Exclusive, "busy"))
	})),
	"TryLock":             plain(func(c context.Context, e *ending) error { return e.keep(e.x.TryLock(c, locktable.Shared, "a")) }),
	"Unlock":              on(locktable.Exclusive, unlock, "a"),
	"Unlock below":        on(locktable.Exclusive, unlock, "layers", "x"),
	"Unlock of an intent": on(locktable.IntentExclusive, unlock, "layers"),
	"Unlock of a record": func(t *testing.T, e *ending) func(context.Context) error {
		e.busy(t, locktable.Shared, "b")
		h := e.held(t, locktable.Shared, "b")
		return func(context.Context) error { return h.Unlock() }
	},
	"Unlock with a waiter": func(t *testing.T, e *ending) func(context.Context) error {
		h := e.held(t, locktable.Exclusive, "b")
		done := begin(t, e.x, 1, func() error {
			h, err := e.other.Lock(ctx, locktable.Exclusive, "b")
			if err == nil {
				err = h.Unlock()
			}
			return err
		}, "b")
		e.late = append(e.late, func() { _ = h.Unlock() })
		e.last = append(e.last, func() error { return <-done })
		return func(context.Context) error { return h.Unlock() }
	},
	"Upgrade": on(locktable.Shared, func(c context.Context, _ *ending, h locktable.Hold) error {
		return h.Upgrade(c, locktable.Exclusive)
	}, "layers", "x"),
	"Upgrade in vain": func(t *testing.T, e *ending) func(context.Context) error {
		e.busy(t, locktable.Shared, "b")
		h := e.held(t, locktable.Shared, "b")
		return func(c context.Context) error { return h.Upgrade(c, locktable.Exclusive) }
	},
	"Downgrade": on(locktable.Exclusive, func(_ context.Context, _ *ending, h locktable.Hold) error {
		return h.Downgrade(locktable.Shared)
	}, "a"),
	"Under": on(locktable.Exclusive, func(c context.Context, e *ending, h locktable.Hold) error {
		return e.keep(e.x.Lock(h.Under(c), locktable.Exclusive, "a"))
	}, "a"),
	"Token":     on(locktable.Shared, func(_ context.Context, _ *ending, h locktable.Hold) error { _, err := h.Token(); return err }, "a"),
	"Changed":   on(locktable.Exclusive, func(_ context.Context, _ *ending, h locktable.Hold) error { _, err := h.Changed(); return err }, "a"),
	"Recovered": on(locktable.Exclusive, func(_ context.Context, _ *ending, h locktable.Hold) error { h.Recovered(); return nil }, "a"),
	"Repaired":  on(locktable.Exclusive, func(_ context.Context, _ *ending, h locktable.Hold) error { return h.Repaired() }, "a"),
	"Asked":     on(locktable.Shared, func(_ context.Context, _ *ending, h locktable.Hold) error { h.Asked(); return nil }, "a"),
	"Ask":       waits(plain(func(c context.Context, e *ending) error { _, err := e.x.Ask(c, "busy"); return err })),
	"ChangedSince": on(locktable.Shared, func(c context.Context, e *ending, h locktable.Hold) error {
		tok, err := h.Token()
		if err == nil {
			_, err = e.x.ChangedSince(c, tok, "a")
		}
		return err
	}, "a"),
	"RepairedAll":         plain(func(c context.Context, e *ending) error { return e.x.RepairedAll(c) }),
	"LockMany":            plain(func(c context.Context, e *ending) error { return e.keepAll(e.x.LockMany(c, several("b")...)) }),
	"LockMany in vain":    waits(plain(func(c context.Context, e *ending) error { return e.keepAll(e.x.LockMany(c, several("busy")...)) })),
	"TryLockMany in vain": waits(plain(func(c context.Context, e *ending) error { return e.keepAll(e.x.TryLockMany(c, several("busy")...)) })),
	"LockMany that is called": func(t *testing.T, e *ending) func(context.Context) error {
		h := e.busy(t, locktable.Exclusive, "busy")
		e.at["locktable/many/queued"] = func() { _ = h.Unlock() }
		return func(context.Context) error { return e.keepAll(e.x.LockMany(ctx, several("busy")...)) }
	},
	"Holds.Unlock": func(t *testing.T, e *ending) func(context.Context) error {
		hs, err := e.x.LockMany(ctx, several("b")...)
		must(t, e.keepAll(hs, err))
		return func(context.Context) error { return hs.Unlock() }
	},
	"Name": plain(func(c context.Context, e *ending) error { _, err := e.x.Name(c, "layers", "x"); return err }),
	"Name.Lock": named(func(c context.Context, e *ending, n *locktable.Name) error {
		return e.keep(n.Lock(c, locktable.Exclusive))
	}, "a"),
	"Name.TryLock": named(func(c context.Context, e *ending, n *locktable.Name) error {
		return e.keep(n.TryLock(c, locktable.Shared))
	}, "a"),
	"Name.Lock below": named(func(c context.Context, e *ending, n *locktable.Name) error {
		return e.keep(n.Lock(c, locktable.Exclusive))
	}, "layers", "x"),
	"Name.Lock of an owner": named(func(c context.Context, e *ending, n *locktable.Name) error {
		c, o := e.x.As(c, "owns")
		defer o.Done()
		return e.keep(n.Lock(c, locktable.Exclusive))
	}, "layers", "x"),
	"Name.Lock in vain": func(t *testing.T, e *ending) func(context.Context) error {
		n, err := e.x.Name(ctx, "busy")
		must(t, err)
		return waits(plain(func(c context.Context, e *ending) error { return e.keep(n.Lock(c, locktable.Shared)) }))(t, e)
	},
	"Name.Lock and Unlock": named(func(c context.Context, e *ending, n *locktable.Name) error {
		h, err := n.Lock(c, locktable.Exclusive)
		if err == nil {
			err = h.Unlock()
		}
		return err
	}, "layers", "x"),
	"Name.Release": named(func(_ context.Context, _ *ending, n *locktable.Name) error { n.Release(); return nil }, "a"),
	"As": plain(func(c context.Context, e *ending) error {
		_, o := e.x.As(c, "as")
		o.Note("more")
		o.Done()
		return nil
	}),
	"List":    waits(plain(func(_ context.Context, e *ending) error { return looks(e.x.List()) })),
	"Holders": waits(plain(func(_ context.Context, e *ending) error { return looks(e.x.Holders("busy")) })),
	"Waiters": waits(plain(func(_ context.Context, e *ending) error { return looks(e.x.Waiters("busy")) })),
	"Waits":   waits(plain(func(_ context.Context, e *ending) error { return looks(e.x.Waits()) })),
	"Close":   on(locktable.Exclusive, func(_ context.Context, e *ending, _ locktable.Hold) error { e.x.Close(); return nil }, "a"),
	"Create": plain(func(_ context.Context, e *ending) error {
		y, err := locktable.Create(e.area, locktable.Options{})
		if err == nil {
			y.Close()
		}
		return err
	}),
	"Attach": func(t *testing.T, e *ending) func(context.Context) error {
		e.x.Close()
		return func(context.Context) error {
			y, err := locktable.Attach(e.area, e.other.Handle(), locktable.Options{})
			if err == nil {
				e.late = append(e.late, y.Close)
			}
			return err
		}
	},
	"Look": plain(func(_ context.Context, e *ending) error {
		l, err := locktable.Look(roster.In(e.area), e.other.Handle())
		if err == nil {
			err = looks(l.List())
		}
		return err
	}),
}
