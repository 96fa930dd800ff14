package parts

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/godsm/godsm/bench/figure"
	"github.com/godsm/godsm/bench/postgres"
	"github.com/godsm/godsm/bench/side"
	"github.com/godsm/godsm/bench/stat"
	"github.com/godsm/godsm/dsm"
	"golang.org/x/sys/unix"
)

func init() {
	side.Register("reclaim/kills", kills)
	side.Register("reclaim/raw", rawKills)
	side.Partner("holder", holder)
	side.Partner("nothing", func(p *side.Peer) error { p.Ready(); p.Hear(); return nil })
}

// reclaim returns how long after a SIGKILL what the dead process held is gone: from the kill until the
// segment's file is. PostgreSQL starts all processes again: from the kill until it accepts a connection.
func reclaim(r Rivals) []figure.Figure {
	n, pg, python := 200, 20, 50
	if r.Quick {
		n, pg, python = 20, 3, 5
	}
	return []figure.Figure{{
		Part: "reclaim", Shape: fmt.Sprintf("from SIGKILL until a 4 KiB segment is gone, %d kills", n),
		Names: []string{"p50", "p99", "max"}, Goal: "p99", Max: 10e6, Once: true,
		Sides: []figure.Contender{
			goSide(figure.Ours, "reclaim/kills", n),
			why(goSide("until the kernel says so", "reclaim/raw", n),
				"the limit: the death alone, by a pidfd; nothing is reclaimed"),
			{Rival: fmt.Sprintf(Postgres+", crash and restart (%d kills)", pg),
				Open: func(ctx context.Context, _ side.Pin, _ time.Duration) (side.Side, error) {
					return study(func(ctx context.Context) ([]float64, error) {
						return quantiles(r.Postgres.Crashes(ctx, postgres.Posix, pg))
					}), nil
				}},
			{Rival: fmt.Sprintf("Python's resource tracker (%d kills)", python),
				Open: func(context.Context, side.Pin, time.Duration) (side.Side, error) {
					return study(func(ctx context.Context) ([]float64, error) {
						return quantiles(trackerKills(ctx, r, python))
					}), nil
				}},
		},
	}}
}

// study is a side that runs in the bench itself.
type study func(context.Context) ([]float64, error)

func (s study) Round(ctx context.Context) ([]float64, error) { return s(ctx) }
func (s study) Close() error                                 { return nil }

func quantiles(took []time.Duration, err error) ([]float64, error) {
	var x []float64
	for _, d := range took {
		x = append(x, float64(d))
	}
	return []float64{stat.Quantile(x, 0.5), stat.Quantile(x, 0.99), stat.Quantile(x, 1)}, err
}

// gone waits until there is no file of that name, and returns how long that took since begin.
func gone(path string, begin time.Time) (time.Duration, error) {
	for {
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
			return time.Since(begin), nil
		}
		if time.Since(begin) > 30*time.Second {
			return 0, fmt.Errorf("%s is still there 30 s after its holder's death", path)
		}
		_ = unix.Nanosleep(&unix.Timespec{Nsec: 20_000}, nil)
	}
}

// kills measures the reclaim of N sessions that die, one after another, while they hold a segment. Its argument is N.
func kills(a side.Args) (*side.Work, error) {
	w, err := ofType("posix")
	if err != nil {
		return nil, err
	}
	return &side.Work{Once: func() ([]float64, error) {
		var took []time.Duration
		for range a.Int(0) {
			p, err := side.StartPartner("holder", side.Alone, nil, w.dir)
			if err != nil {
				return nil, err
			}
			list, err := w.Segments(ctx)
			if err == nil && len(list) != 1 {
				err = fmt.Errorf("%d segments, want one", len(list))
			}
			if err != nil {
				p.Kill()
				return nil, err
			}
			begin := time.Now()
			if err := unix.Kill(p.Pid(), unix.SIGKILL); err != nil {
				return nil, err
			}
			d, err := gone(list[0].OSName, begin)
			p.Kill()
			if err != nil {
				return nil, err
			}
			took = append(took, d)
		}
		return quantiles(took, nil)
	}, Close: w.end}, nil
}

// holder holds a segment until it is killed. Its argument is DIR.
func holder(p *side.Peer) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: p.List[0]})
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := s.Create(ctx, s.Owner(), 4096); err != nil {
		return err
	}
	p.Ready()
	p.Hear()
	return nil
}

// rawKills measures how long after a kill a pidfd says that the process is dead, N times. Its argument is N.
func rawKills(a side.Args) (*side.Work, error) {
	return &side.Work{Once: func() ([]float64, error) {
		var took []time.Duration
		for range a.Int(0) {
			p, err := side.StartPartner("nothing", side.Alone, nil)
			if err != nil {
				return nil, err
			}
			fd, err := unix.PidfdOpen(p.Pid(), 0)
			if err != nil {
				p.Kill()
				return nil, err
			}
			begin := time.Now()
			err = unix.Kill(p.Pid(), unix.SIGKILL)
			for polled := 0; err == nil && polled == 0; {
				if polled, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1); err == unix.EINTR {
					err = nil
				}
			}
			took = append(took, time.Since(begin))
			unix.Close(fd)
			p.Kill()
			if err != nil {
				return nil, err
			}
		}
		return quantiles(took, nil)
	}}, nil
}

// trackerKills measures Python, which has a process that looks after what a tree of processes has made, and
// removes it when they are all gone.
func trackerKills(ctx context.Context, r Rivals, n int) (took []time.Duration, err error) {
	for range n {
		cmd, err := r.Python.Command(ctx, "hold", side.Alone, 0, 4096)
		if err != nil {
			return nil, err
		}
		in, err := cmd.StdinPipe() // or it would end by itself
		if err != nil {
			return nil, err
		}
		defer in.Close()
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		path, err := bufio.NewReader(out).ReadString('\n')
		begin := time.Now()
		_ = cmd.Process.Kill()
		if err == nil {
			var d time.Duration
			d, err = gone(strings.TrimSpace(path), begin)
			took = append(took, d)
		}
		_ = cmd.Wait()
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return nil, err
		}
	}
	return slices.Clip(took), nil
}
