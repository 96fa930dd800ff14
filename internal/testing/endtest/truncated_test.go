package endtest

import (
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
)

func init() { proctest.Register("truncated", truncated) }

// bare are the functions that a truncated object ends the process of, as their docs say, and which are used inside of
// Session.Contain here. A type stands for all its methods. Each has its reason.
var bare = map[string]string{
	"shmsync.LWLock": "a lock costs some nanoseconds", "shmsync.Guard": "of a LWLock",
	"shmsync.Latch": "as a lock", "shmsync.Barrier": "as a lock", "shmsync.WaitAny": "of latches",
	"shmsync.NewLWLock": "its use locks", "shmsync.NewLWLockUnder": "its use locks", "shmsync.NewLWLockWithin": "its use locks",
	"shmsync.NewLatch": "its use sets it", "shmsync.NewBarrier": "its use arrives",
	"shmsync.EventCount": "a number in the bytes", "shmsync.LWLockWord": "bytes", "shmsync.LatchWord": "bytes",
	"shmsync.Slot": "bytes", "shmsync.Cond": "its use counts in the bytes", "shmsync.Ticket": "its use counts in the bytes",
	"mq.NewMany": "its use sends", "dsa.Area.Returned": "one load", "dsa.Area.Current": "its first load is that of Returned",
	"dsm.Segment.Bytes": "bytes", "dsm.Segment.Region": "bytes", "dsm.AttachAs": "its use loads", "dsm.New": "its use stores",
	"mq.Sender": "a message costs some nanoseconds", "mq.Receiver": "as a Sender", "mq.Many": "of receivers",
	"dsa.Area.Alloc": "an object costs some nanoseconds", "dsa.Area.Free": "as Alloc", "dsa.Area.Bytes": "bytes",
	"dsa.Area.Peek": "bytes", "dsa.Area.AllocInto": "as Alloc", "dsa.Area.AllocBytesInto": "as Alloc",
	"dsa.Area.FreeFrom": "as Alloc", "dsa.Area.AllocZeroed": "as Alloc", "dsa.Area.Place": "as Bytes", "dsa.Place": "a word in the bytes",
	"dsa.New": "as Alloc", "dsa.Ref": "as Alloc",
	"locktable.Name": "a lock of a kept name costs as two of LWLock", "locktable.locker": "of a Name",
}

// unharmed are the functions that fail elsewhere and not here: they use bytes of their own, or have no error to return.
var unharmed = map[string]string{
	"area.Create":                  "in a segment of its own",
	"dsa.Area.Detach":              "in a segment of its own",
	"dsa.AttachInPlace":            "in a segment of its own",
	"dsa.Create":                   "in a segment of its own",
	"dsa.CreateInPlace":            "in a segment of its own",
	"locktable.Attach":             "in a segment of its own",
	"locktable.Create":             "in a segment of its own",
	"locktable.Look":               "in a segment of its own",
	"logcache.Attach":              "in a segment of its own",
	"logcache.Cache.Purge":         "in a segment of its own",
	"logcache.Cache.Resize":        "in a segment of its own",
	"logcache.Cache.Close":         "in a segment of its own",
	"logcache.Create":              "in a segment of its own",
	"mq.Create":                    "in a segment of its own",
	"mq.NewConn":                   "in a segment of its own",
	"mq.Queue.Receiver":            "in a segment of its own",
	"mq.Queue.Sender":              "in a segment of its own",
	"mq.Queue.SetReceiver":         "in a segment of its own",
	"mq.Queue.SetSender":           "in a segment of its own",
	"toc.Create":                   "in a segment of its own",
	"locktable.Table.Close":        "in a segment of its own",
	"locktable.Open":               "returns the table that is open",
	"locktable.Table.ChangedSince": "the token is of no table",
	"mq.Conn.Close":                "ends it all the same",
	"mq.Conn.CloseRead":            "ends it all the same",
	"mq.Conn.CloseWrite":           "ends it all the same",
	"mq.Conn.SetDeadline":          "sets a timer of the process",
	"mq.Conn.SetReadDeadline":      "sets a timer of the process",
	"mq.Conn.SetWriteDeadline":     "sets a timer of the process",
	"shmsync.Bit.Wait":             "the control segment is whole",
}

func isBare(name string) bool {
	if bare[name] != "" {
		return true
	}
	i := strings.LastIndexByte(name, '.')
	return i > strings.IndexByte(name, '.') && bare[name[:i]] != ""
}

// TestTruncated uses everything after another program has truncated every segment of the instance: the process lives, each
// call returns, with an error if it has one, and Close returns too.
func TestTruncated(t *testing.T) {
	for from := ""; ; {
		cfg := instancetest.Config(t, "mmap", "max_segments", "400")
		instancetest.Start(t, cfg)
		last := truncate(t, cfg, from)
		if last == "" {
			break
		}
		from = last // one that ends the process is reported, and the others are tried all the same
	}
}

// truncate has a process use everything from a name on, and returns the use in which it has ended, "" if it has not.
func truncate(t *testing.T, cfg dsm.Config, from string) (last string) {
	p := proctest.Start(t, "truncated", cfg.Dir, from)
	for {
		line, ok := p.Line()
		if !ok {
			_ = p.Wait()
			t.Errorf("the process has ended in %s:\n%.1500s", last, p.Stderr())
			return last
		}
		if line == "done" {
			break
		}
		if name, is := strings.CutPrefix(line, "use "); is {
			last = name
		} else {
			t.Error(line)
		}
	}
	if err := p.Close(); err != nil {
		t.Errorf("%v\n%s", err, p.Stderr())
	}
	return ""
}

// sleepers begin calls that wait for what does not come, of user 1. Each channel is closed when its call has returned.
func sleepers(w *world) map[string]chan struct{} {
	a, asleep := &w.alone[1], map[string]chan struct{}{}
	contained := func(f func() error) func() error { return func() error { return w.s.Contain(f) } } // what is bare
	full := func(write func([]byte) (int, error)) func() error {
		return func() error {
			for {
				if _, err := write(make([]byte, 4096)); err != nil {
					return err
				}
			}
		}
	}
	for name, f := range map[string]func() error{
		"dsmnet's Read":    func() error { _, err := a.dialed.Read(make([]byte, 1)); return err },
		"dsmnet's Write":   full(a.accepted.Write),
		"Receiver.Receive": contained(func() error { _, err := a.receiver.Receive(ctx); return err }),
		"Many.Receive":     contained(func() error { _, _, err := a.many.Receive(ctx); return err }),
		"Conn.Read":        func() error { _, err := a.conn.Read(make([]byte, 1)); return err },
		"Latch.Wait":       contained(func() error { return a.latch.Wait(ctx) }),
		"Listener.Accept":  func() error { _, err := a.port.Accept(); return err },
	} {
		over := make(chan struct{})
		asleep[name] = over
		go func() {
			defer close(over)
			_ = f()
		}()
	}
	return asleep
}

// truncated uses everything behind a name in a world whose segments are truncated: DIR NAME.
func truncated(c *proctest.Child) error {
	w, err := newWorld(dsm.Config{Dir: c.Args[0]}, "truncated")
	if err != nil {
		return err
	}
	list, err := w.s.Segments(ctx)
	if err != nil {
		return err
	}
	all, err := methods()
	if err != nil {
		return err
	}
	asleep := sleepers(w)
	time.Sleep(20 * time.Millisecond) // some of them sleep by now
	n := 0
	for _, g := range list {
		if os.Truncate(g.OSName, 0) == nil {
			n++
		}
	}
	if n == 0 {
		return errors.New("no segment could be truncated")
	}
	for _, name := range slices.Sorted(maps.Keys(uses)) {
		if name <= c.Args[1] {
			continue
		}
		c.Say("use %s", name)
		short := func() error { return uses[name](w, 0) }
		if isBare(name) {
			err = w.s.Contain(short)
		} else {
			err = short()
		}
		switch {
		case err == nil && all[name] && !strings.HasPrefix(name, "dsm.") && unharmed[name] == "":
			c.Say("%s of truncated bytes: nil", name)
		case err != nil && strings.HasPrefix(err.Error(), "wrong:"):
			c.Say("%s: %v", name, err)
		}
	}
	c.Say("use Session.Close")
	_ = w.s.Close()
	for name, over := range asleep {
		c.Say("use %s, which slept", name)
		<-over
	}
	c.Say("done")
	c.Hear()
	return nil
}
