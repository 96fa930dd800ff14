package record

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/survey"
	"github.com/godsm/godsm/locktable"
	"github.com/google/uuid"
)

// span is something that goes on for a while: a session, a state that it is in, a segment, a hold of a lock or a wait for one.
type span struct {
	key
	name  string
	pid   int    // the process that a viewer draws it in
	app   string // what that is called
	since time.Time
	inner *key // the span that it lies in
	args  func() map[string]any

	id   int
	seen int       // the look that has seen it last
	end  time.Time // zero: the present look
}

// key tells a span from all others of a look, and is the same in each look that sees it.
type key struct {
	instance   uuid.UUID
	generation uint64
	kind       string
	text       string
	number     uint64
	pid        int
}

// depth returns how many spans this one lies in.
func (s *span) depth() int {
	if s.inner == nil {
		return 0
	}
	return 1
}

// spansOf returns all that goes on in a survey.
func spansOf(s *survey.Survey) (list []*span) {
	list = make([]*span, 0, len(s.Report.Segments)+2*len(s.Report.Sessions))
	st := s.Report.Status
	add := func(k key, x span) {
		k.instance, k.generation = st.Instance, st.Generation
		x.key = k
		list = append(list, &x)
	}
	for _, p := range s.Report.Sessions {
		k := key{kind: "session", text: p.Name}
		add(k, span{name: "session " + p.Name, pid: p.Pid, app: p.Application, since: p.Started, args: noArgs})
		if p.State != "running" {
			k.instance, k.generation = st.Instance, st.Generation
			add(key{kind: "session", text: p.Name + " " + string(p.State)}, span{name: string(p.State), pid: p.Pid, inner: &k, args: noArgs})
		}
	}
	if h := st.LockHolder; h != nil {
		add(key{kind: "control lock", text: h.Name}, span{name: "control lock", pid: st.Supervisor,
			args: func() map[string]any {
				return map[string]any{"session": h.Name, "pid": h.Pid, "application": h.Application}
			}})
	}
	names := map[dsm.Handle]string{}
	for _, x := range s.Names {
		names[x.Handle] = x.Kind + " " + x.Name
	}
	for i := range s.Report.Segments {
		g := &s.Report.Segments[i]
		add(key{kind: "segment", number: uint64(g.Handle)}, span{name: cmp.Or(names[g.Handle], "segment"), pid: g.CreatorPid, app: g.Creator,
			since: g.Created, args: func() map[string]any { return map[string]any{"handle": g.Handle.String(), "size": g.Size} }})
	}
	for i := range s.Tables {
		for _, l := range s.Tables[i].Locks {
			name := s.Tables[i].Name + ": " + l.Name()
			for _, p := range slices.Concat(l.Holders, l.Waiters) {
				does := "holds " + name
				if p.Waits {
					does = "waits for " + name
				}
				add(key{kind: "lock", text: fmt.Sprint(does, p.Mode), number: uint64(p.Owner), pid: p.Pid}, span{name: does, pid: p.Pid,
					app: p.Application, since: s.Begun.Add(-p.For), args: func() map[string]any { return partyArgs(p) }})
			}
		}
	}
	return list
}

func noArgs() map[string]any { return nil }

func partyArgs(p locktable.Party) map[string]any {
	return map[string]any{"mode": p.Mode.String(), "note": p.Note, "owner": p.Owner}
}
