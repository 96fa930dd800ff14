package web

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/survey"
	"github.com/godsm/godsm/locktable"
)

// State is what the page shows. Sizes are bytes, times are ms since 1970, durations are seconds.
type State struct {
	Error    string    `json:"error,omitempty"`
	Time     int64     `json:"time"`
	Instance instance  `json:"instance"`
	Memory   []block   `json:"memory"` // the largest segments, and the rest as one
	Sessions []session `json:"sessions"`
	Caches   []cached  `json:"caches"`
	Locks    []lock    `json:"locks"`
	Waits    []wait    `json:"waits"`
	Queues   []queue   `json:"queues"`
	Events   []event   `json:"events"` // the latest first
	Trouble  []string  `json:"trouble"`
}

type instance struct {
	Dir          string       `json:"dir"`
	ID           string       `json:"id"`
	Generation   uint64       `json:"generation"`
	Backend      string       `json:"backend"`
	Supervisor   int          `json:"supervisor"`
	Supervised   bool         `json:"supervised"`
	Closing      bool         `json:"closing"`
	Sessions     int          `json:"sessions"`
	MaxSessions  int          `json:"maxSessions"`
	Segments     int          `json:"segments"`
	MaxSegments  int          `json:"maxSegments"`
	Bytes        uint64       `json:"bytes"`
	MaxBytes     uint64       `json:"maxBytes"`
	Reserved     uint64       `json:"reserved"`
	ReservedUsed uint64       `json:"reservedUsed"`
	Counters     dsm.Counters `json:"counters"`
}

type block struct {
	Handle  string `json:"handle"` // empty: the rest
	Name    string `json:"name,omitempty"`
	Kind    string `json:"kind"` // segment, or what it has a name for
	Size    uint64 `json:"size"`
	Refs    int    `json:"refs"`
	Count   int    `json:"count"`
	Pinned  bool   `json:"pinned,omitempty"`
	State   string `json:"state"`
	Creator string `json:"creator,omitempty"`
}

type session struct {
	Name        string `json:"name"`
	Pid         int    `json:"pid"`
	Application string `json:"application"`
	State       string `json:"state"`
	Started     int64  `json:"started"`
	Segments    int    `json:"segments"`
	Bytes       uint64 `json:"bytes"`
	Creates     uint64 `json:"creates"`
	Attaches    uint64 `json:"attaches"`
	Refused     uint64 `json:"refused"`
}

type cached struct {
	Name    string        `json:"name"`
	Error   string        `json:"error,omitempty"`
	Limit   int64         `json:"limit"`
	Used    int64         `json:"used"`
	Entries int           `json:"entries"`
	Hits    uint64        `json:"hits"`
	Misses  uint64        `json:"misses"`
	Evicted uint64        `json:"evicted"`
	Curve   []cache.Point `json:"curve"`
}

type party struct {
	Pid         int     `json:"pid"`
	Application string  `json:"application"`
	Note        string  `json:"note,omitempty"`
	State       string  `json:"state,omitempty"` // stopped, dead, ...: what its session is, if that is not running
	Mode        string  `json:"mode"`
	Seconds     float64 `json:"seconds"`
}

type lock struct {
	Table   string  `json:"table"`
	Name    string  `json:"name"`
	Holders []party `json:"holders"`
	Waiters []party `json:"waiters"`
	Died    int     `json:"died,omitempty"`
	Below   bool    `json:"died_below,omitempty"`
}

type wait struct {
	Table  string `json:"table"`
	Name   string `json:"name"`
	Waiter party  `json:"waiter"`
	Holder party  `json:"holder"`
}

type queue struct {
	Name     string  `json:"name"`
	Error    string  `json:"error,omitempty"`
	Slots    int     `json:"slots"`
	Waiting  int     `json:"waiting"`
	Flushing int     `json:"flushing"`
	Oldest   float64 `json:"oldest"`
	Commands uint64  `json:"commands"`
	Failed   uint64  `json:"failed"`
	Leader   string  `json:"leader,omitempty"`
	Trouble  string  `json:"trouble,omitempty"`
}

type event struct {
	Time int64  `json:"time"`
	Kind string `json:"kind"`
	Text string `json:"text"`
}

// What the page lists at most: a browser has to draw it.
const (
	maxBlocks   = 300
	maxSessions = 1000
	maxListed   = 500
	maxEvents   = 200
)

func stateOf(s survey.Survey, err error) State {
	st := State{Time: time.Now().UnixMilli(), Memory: []block{}, Sessions: []session{}, Caches: []cached{}, Locks: []lock{},
		Waits: []wait{}, Queues: []queue{}, Events: []event{}, Trouble: []string{}}
	for _, e := range s.Events {
		st.Events = append(st.Events, event{e.Time.UnixMilli(), e.Kind, e.String()})
	}
	if err != nil {
		st.Error = err.Error()
		return st
	}
	x := s.Report.Status
	st.Instance = instance{
		Dir: x.Dir, ID: x.Instance.String(), Generation: x.Generation, Backend: x.Backend, Supervisor: x.Supervisor,
		Supervised: x.Supervised, Closing: x.Closing, Sessions: x.Sessions, MaxSessions: x.MaxProcesses, Segments: x.Segments,
		MaxSegments: x.MaxSegments, Bytes: x.Bytes, MaxBytes: x.MaxMemory, Reserved: x.Reserved, ReservedUsed: x.ReservedUsed,
		Counters: x.Counters,
	}
	st.Memory = blocksOf(s)
	for _, p := range s.Report.Sessions[:min(maxSessions, len(s.Report.Sessions))] {
		r := p.Done.Refused
		st.Sessions = append(st.Sessions, session{p.Name, p.Pid, p.Application, p.State.String(), p.Started.UnixMilli(), p.Segments, p.Bytes,
			p.Done.Creates, p.Done.Attaches, r.Segments + r.Memory + r.Session + r.System})
	}
	for _, c := range s.Caches {
		curve := c.Curve
		if curve == nil {
			curve = []cache.Point{}
		}
		st.Caches = append(st.Caches, cached{c.Name, text(c.Err), c.Stats.Limit, c.Stats.Used, c.Stats.Entries, c.Stats.Total.Hits,
			c.Stats.Total.Misses, c.Stats.Evicted, curve})
	}
	st.locks(s.Tables, s.NotRunning())
	for _, q := range s.Queues {
		row := queue{Name: q.Name, Error: text(q.Err), Slots: q.Stats.Slots, Waiting: q.Stats.Waiting, Flushing: q.Stats.Flushing,
			Oldest: q.Stats.Oldest.Seconds(), Commands: q.Stats.Commands, Failed: q.Stats.Failed, Trouble: q.Stats.Trouble}
		if q.Err == nil && q.Stats.Leader.Row >= 0 {
			row.Leader = q.Stats.Leader.String()
		}
		st.Queues = append(st.Queues, row)
	}
	st.trouble(s)
	return st
}

func (st *State) locks(tables []survey.Table, states map[int]string) {
	for _, t := range tables {
		for _, l := range t.Locks {
			if len(st.Locks) < maxListed {
				st.Locks = append(st.Locks, lock{t.Name, l.Name(), partiesOf(l.Holders, states), partiesOf(l.Waiters, states), l.Died, l.Below})
			}
		}
		for _, w := range t.Waits {
			if len(st.Waits) < maxListed {
				st.Waits = append(st.Waits, wait{t.Name, w.Name, partyOf(w.Waiter, states), partyOf(w.Holder, states)})
			}
		}
	}
}

// trouble lists what an operator should look at.
func (st *State) trouble(s survey.Survey) {
	say := func(text string) { st.Trouble = append(st.Trouble, text) }
	switch x := s.Report.Status; {
	case x.Closing:
		say("the instance is being stopped")
	case !x.Supervised:
		say("no supervisor lives: start one, it adopts the sessions")
	}
	for _, p := range s.Report.Sessions {
		if p.State == dsm.SessionStopped && len(st.Trouble) < 20 {
			say("session " + p.Name + " is stopped (SIGSTOP, a debugger): what it holds is not given back")
		}
	}
	if s.Err != nil {
		say("the names can't be read: " + s.Err.Error())
	}
	for _, t := range s.Tables {
		if t.Err != nil {
			say("the lock table " + t.Name + " can't be read: " + t.Err.Error())
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// blocksOf lists the memory: what has a name under its name, the largest first.
func blocksOf(s survey.Survey) []block {
	type named struct{ name, kind string }
	names := map[dsm.Handle]named{}
	for _, x := range s.Names {
		names[x.Handle] = named{x.Name, x.Kind}
	}
	order := make([]*dsm.SegmentInfo, len(s.Report.Segments))
	for i := range s.Report.Segments {
		order[i] = &s.Report.Segments[i]
	}
	slices.SortStableFunc(order, func(a, b *dsm.SegmentInfo) int { return cmp.Compare(b.Size, a.Size) })
	list := []block{}
	rest := block{Kind: "segments", Name: "smaller segments", State: "live"}
	for i, g := range order {
		if i >= maxBlocks {
			rest.Size += uint64(g.Size)
			rest.Count++
			continue
		}
		b := block{Handle: g.Handle.String(), Kind: "segment", Size: uint64(g.Size), Refs: g.Refs, Count: 1, Pinned: g.Pinned,
			State: g.State.String(), Creator: g.Creator}
		if n, ok := names[g.Handle]; ok {
			b.Name, b.Kind = n.name, n.kind
		}
		if x, ok := s.Parts[g.Handle]; ok {
			b.Name, b.Kind = x.Name, x.Kind
		}
		if g.Root {
			b.Name, b.Kind = "names", "root"
		}
		list = append(list, b)
	}
	if rest.Count > 0 {
		list = append(list, rest)
	}
	return list
}

func partiesOf(list []locktable.Party, states map[int]string) []party {
	all := []party{}
	for _, p := range list[:min(len(list), maxListed)] {
		all = append(all, partyOf(p, states))
	}
	return all
}

func partyOf(p locktable.Party, states map[int]string) party {
	return party{p.Pid, p.Application, p.Note, states[p.Pid], p.Mode.String(), p.For.Seconds()}
}

func (h *handler) state(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(h.look(r.Context()))
}
