package parts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/godsm/godsm/bench/figure"
	"github.com/godsm/godsm/bench/postgres"
	"github.com/godsm/godsm/bench/side"
	"github.com/godsm/godsm/dsm"
)

func init() {
	side.Register("growth/segments", amongSegments)
	side.Register("growth/sessions", amongSessions)
	side.Register("growth/raw", amongFiles)
	side.Partner("crowd", crowd)
}

const whyList = "it reads names and sizes only: not who holds what"

// growth returns what calls cost as the number of segments and sessions grows.
func growth(r Rivals) (list []figure.Figure) {
	segments, sessions := []int{10, 100, 1000, 10000}, []int{2, 20, 200}
	if r.Quick {
		segments, sessions = []int{10, 1000}, []int{2, 50}
	}
	add := func(op string, n int, of string, sides ...figure.Contender) {
		list = append(list, figure.Figure{Part: "growth", Shape: fmt.Sprintf("%s, %d %s", op, n, of), Sides: sides})
	}
	for _, n := range segments {
		add("create+detach 4 KiB", n, "segments live", goSide(figure.Ours, "growth/segments", "create", n),
			why(goSide(raw, "growth/raw", "create", n), whyRaw),
			why(r.postgres(postgres.Wide, "create live", 4096, n), whyC))
		add("attach+detach 4 KiB", n, "segments live", goSide(figure.Ours, "growth/segments", "attach", n),
			why(goSide(raw, "growth/raw", "attach", n), whyRaw),
			why(r.postgres(postgres.Wide, "attach live", 4096, n), whyC))
		add("list", n, "segments live", goSide(figure.Ours, "growth/segments", "list", n),
			why(goSide(raw, "growth/raw", "list", n), whyList))
	}
	for _, n := range sessions {
		crowded := func(kind string) figure.Contender {
			return figure.Contender{Rival: Postgres, Why: whyC,
				Open: func(ctx context.Context, pin side.Pin, target time.Duration) (side.Side, error) {
					return r.Postgres.OpenAmong(ctx, postgres.Wide, n-1, kind, pin, target, 4096)
				}}
		}
		add("create+detach 4 KiB", n, "sessions", goSide(figure.Ours, "growth/sessions", "create", n),
			crowded("create"))
		add("attach+detach 4 KiB", n, "sessions", goSide(figure.Ours, "growth/sessions", "attach", n),
			crowded("attach"))
		add("list", n, "sessions", goSide(figure.Ours, "growth/sessions", "list", n))
	}
	return list
}

// amongSegments measures OPERATION while N segments are live that no session has attached. Its arguments are OPERATION N.
func amongSegments(a side.Args) (*side.Work, error) {
	n := a.Int(1)
	w, err := newWorld(map[string]string{"max_segments": fmt.Sprint(max(4096, n+100))})
	if err != nil {
		return nil, err
	}
	var handle dsm.Handle
	for i := range n {
		g, err := w.Create(ctx, w.Owner(), 4096)
		if err == nil {
			err = errors.Join(g.Pin(ctx), g.Detach())
		}
		if err != nil {
			return nil, errors.Join(err, w.end())
		}
		if i == n/2 {
			handle = g.Handle()
		}
	}
	loops := map[string]func(int) error{
		"create": createLoop(w, 4096),
		"attach": attachLoop(w.Session, handle),
		"list": func(times int) error {
			return repeat(times, func() error {
				list, err := w.Segments(ctx)
				if err == nil && len(list) != n {
					err = fmt.Errorf("%d segments are listed", len(list))
				}
				return err
			})
		},
	}
	return &side.Work{Run: side.Loop(loops[a.List[0]]), Close: w.end}, nil
}

// amongSessions measures OPERATION while N sessions are open, all but one in another process. Its arguments are OPERATION N.
func amongSessions(a side.Args) (*side.Work, error) {
	n := a.Int(1)
	w, err := newWorld(nil)
	if err != nil {
		return nil, err
	}
	p, err := side.StartPartner("crowd", a.Pin, nil, w.dir, fmt.Sprint(n-1))
	if err != nil {
		return nil, errors.Join(err, w.end())
	}
	g, err := w.Create(ctx, w.Owner(), 4096)
	if err == nil {
		err = errors.Join(g.Pin(ctx), g.Detach())
	}
	loops := map[string]func(int) error{
		"create": createLoop(w, 4096),
		"attach": attachLoop(w.Session, g.Handle()),
		"list": func(times int) error {
			return repeat(times, func() error {
				list, err := w.Sessions(ctx)
				if err == nil && len(list) != n {
					err = fmt.Errorf("%d sessions are listed", len(list))
				}
				return err
			})
		},
	}
	return &side.Work{Run: side.Loop(loops[a.List[0]]), Close: func() error { p.Kill(); return w.end() }}, err
}

// crowd opens N sessions and keeps them until it hears that it may end. Its arguments are DIR N.
func crowd(p *side.Peer) error {
	for range p.Int(1) {
		s, err := dsm.Open(ctx, dsm.Config{Dir: p.List[0]})
		if err != nil {
			return err
		}
		defer s.Close()
	}
	p.Ready()
	p.Hear()
	return nil
}

// amongFiles measures OPERATION on files of the shm mount, of which there are N. Its arguments are OPERATION N.
func amongFiles(a side.Args) (*side.Work, error) {
	n := a.Int(1)
	own := rawPath("posix", "")
	other := func(i int) string { return fmt.Sprintf("%s-%d", own, i) }
	remove := func() error {
		for i := range n {
			_ = os.Remove(other(i))
		}
		return nil
	}
	for i := range n {
		if err := reserveFile(other(i), 4096); err != nil {
			return nil, errors.Join(err, remove())
		}
	}
	loops := map[string]func() error{
		"create": func() error { return rawCreateFile(own, 4096) },
		"attach": func() error { return rawAttachFile(other(n / 2)) },
		"list":   listMount,
	}
	return &side.Work{Run: side.Loop(func(times int) error {
		return repeat(times, loops[a.List[0]])
	}), Close: remove}, nil
}

// listMount looks at each file of the mount.
func listMount() error {
	entries, err := os.ReadDir("/dev/shm")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, err := e.Info(); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
