// Package supervisor owns an instance: it cleans up what an earlier life left, makes the control segment, watches the
// sessions, gives back what dead sessions held, and removes everything when it stops. One process at a time does so
// for an instance; it may be any, and may be a session of it as well.
//
// Stop ends the instance. Leave ends the supervisor alone and hands the instance over to the next one, which another
// process starts: so a new version of a program takes over and finds the memory as it was.
//
// No session has to cooperate, and the supervisor is not a single point of failure: while none lives, sessions work on
// and reclaim each other's dead, and the next supervisor adopts them.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/internal/settings"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
)

// Config is dsm.Config; here its settings are the instance's.
type Config = dsm.Config

// Supervisor is a running supervisor.
type Supervisor struct {
	cfg      Config
	dir      *instance.Dir
	backends instance.Backends
	settings *settings.Settings
	who      control.Who
	private  bool
	log      zerolog.Logger
	unlock   func()

	stopping chan struct{}   // closed by Stop
	leaving  chan chan error // Leave's asks, which run answers
	checks   chan struct{}   // Check's
	left     bool            // to be read when done is closed: it was handed over
	reclaims *uint32         // how many deaths the supervisor knew of that handed it over, until a watch has that
	stop     sync.Once
	done     chan struct{} // closed when run has ended, with err
	err      error
}

// Start takes the instance in cfg.Dir, which is made if missing. If another supervisor has it, that is ErrInUse with
// its pid. Living sessions of a supervisor that died are adopted, unless on_crash is restart or the control segment
// can't be trusted: then they are fenced, and a new generation begins. An instance that a supervisor has left (Leave) is
// adopted with all that is pinned, also if no session lives; with on_crash = restart, too, unless a session has died
// since. Whatever a dead life left is removed first.
//
// Start returns when sessions can join. The context bounds the start alone; Stop ends the supervisor.
func Start(ctx context.Context, cfg Config) (*Supervisor, error) {
	s, err := start(ctx, cfg)
	return s, fail("start", err)
}

func start(ctx context.Context, cfg Config) (*Supervisor, error) {
	path, err := cfg.Dir, error(nil)
	if path == "" {
		if path, err = instance.DefaultDir(); err != nil {
			return nil, err
		}
	}
	dir, err := instance.MakeDir(path)
	if err != nil {
		return nil, err
	}
	who := instance.Who(cfg.Application)
	unlock, err := dir.Lock(instance.HolderOf(who))
	if err != nil {
		dir.Close()
		return nil, err
	}
	failpoint.Hit("supervisor/start/locked")
	s, err := becomeOwner(ctx, cfg, dir, who, false, unlock)
	if err != nil {
		unlock()
		dir.Close()
		return nil, err
	}
	return s, nil
}

// StartPrivate is Start for an instance of this program's own, in a directory that is made for it
// and goes with it. The directory's path, for others to join, is Status's. If every process of it
// is killed, the next start of this user removes it, or the last session to leave.
func StartPrivate(ctx context.Context, cfg Config) (*Supervisor, error) {
	who := instance.Who(cfg.Application)
	dir, unlock, err := instance.MakePrivate(instance.HolderOf(who))
	if err != nil {
		return nil, fail("start", err)
	}
	s, err := becomeOwner(ctx, cfg, dir, who, true, unlock)
	if err != nil {
		err = errors.Join(err, dir.Remove(unlock))
		dir.Close()
	}
	return s, fail("start", err)
}

// Run makes a private instance around f: StartPrivate, a session of it in this process for f, and all of it gone when
// Run returns. It is gone, too, when f panics or calls runtime.Goexit: both go on after that. F may close the session.
//
// If the process ends inside f, by os.Exit or by a signal, nothing in it can clean up. Then the last session of another
// process to leave the instance removes it, such as a worker of package parallel, which ends within 2 s of its
// leader. If there is none, the directory and the objects stay until this user's next Start, StartPrivate or Run of any
// instance, or until a command of dsmctl looks for what is left.
func Run(ctx context.Context, cfg Config, f func(context.Context, *dsm.Session) error) (err error) {
	if f == nil {
		return fail("run", errors.New("the function to be run is nil"))
	}
	s, err := StartPrivate(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }() // f may not return
	session, err := dsm.Open(ctx, s.cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Close()) }()
	return f(ctx, session)
}

// becomeOwner takes the instance of a locked directory.
func becomeOwner(ctx context.Context, cfg Config, dir *instance.Dir, who control.Who, private bool,
	unlock func()) (*Supervisor, error) {
	cfg.Dir = dir.Path
	s := &Supervisor{
		cfg: cfg, dir: dir, backends: instance.Backends{Custom: cfg.Backend}, who: who, private: private,
		log: cfg.Logger, unlock: unlock, stopping: make(chan struct{}), leaving: make(chan chan error),
		checks: make(chan struct{}), done: make(chan struct{}),
	}
	instance.CleanPrivate(ctx, s.backends, who, s.log)
	var err error
	if s.settings, err = s.backends.Load(dir.Path, cfg.Settings); err != nil {
		return nil, err
	}
	if s.settings.DynamicSharedMemoryType == "none" {
		return nil, dsm.ErrDisabled
	}
	last, err := dir.Last(ctx, s.backends, instance.DeathPatience, s.log)
	if err != nil {
		return nil, err
	}
	s.private = s.private || last.Present.Record.Private
	member, err := s.succeedLast(ctx, last)
	if err != nil {
		return nil, err
	}
	if err := dir.TakeOver(); err != nil {
		s.log.Warn().Err(err).Str("event", "handover-unremoved").Msg("the file left.LIFE can't be removed: a later start may take this life for one that was handed over")
	}
	go s.run(member)
	return s, nil
}

// succeedLast adopts the present life if sessions live in it that can be adopted, and else begins a new one.
func (s *Supervisor) succeedLast(ctx context.Context, last *instance.Last) (*instance.Member, error) {
	switch last.Present.Standing {
	case instance.Alive, instance.Left:
		m, err := s.adopt(ctx, last)
		if m != nil || err != nil {
			return m, err
		}
		s.fencesSessions(last)
		_, _ = last.End(ctx, s.who, s.settings.ShutdownTimeout) // what is left stays listed, and is looked for again
	case instance.Bereft, instance.Garbled:
		s.fencesSessions(last)
	case instance.OtherVersion:
		if s.settings.OnOtherVersion != "fence" {
			return nil, fmt.Errorf("%w; or set on_other_version = fence, which ends them and drops what is pinned",
				last.Refuse())
		}
		s.fencesSessions(last)
	case instance.OtherMemory:
		return nil, last.Refuse()
	}
	_, _ = last.Clear(ctx, s.who) // what is left is logged, stays listed, and is looked for again
	failpoint.Hit("supervisor/start/cleaned")
	return s.begin(ctx, last.Instance, last.Generation+1, s.settings.MinDynamicSharedMemory)
}

func (s *Supervisor) fencesSessions(last *instance.Last) {
	if last.Present.Living() {
		s.log.Warn().Int("sessions", last.Present.Sessions).
			Str("event", "sessions-fenced").Msg("a new generation begins under living sessions; they are fenced")
	}
}

func (s *Supervisor) begin(ctx context.Context, id uuid.UUID, generation, reserved uint64) (*instance.Member, error) {
	backend, err := s.backends.Of(s.settings.DynamicSharedMemoryType, s.settings.MmapDirectory)
	if err != nil {
		return nil, err
	}
	return s.dir.Begin(ctx, instance.Birth{
		Instance: id, Generation: generation, Settings: s.settings, Reserved: reserved, Backend: backend,
		Private: s.private, Who: s.who,
	}, s.log)
}

// adopt takes a life over as it stands; nil if that can't or must not be.
func (s *Supervisor) adopt(ctx context.Context, last *instance.Last) (*instance.Member, error) {
	h, left, _ := s.dir.HandedOver(last.Present.Record)
	if s.settings.OnCrash == "restart" && !left {
		return nil, nil
	}
	if err := last.Present.Record.Disagreement(s.settings); err != nil {
		return nil, err
	}
	m, err := last.Adopt(ctx, s.who)
	switch {
	case errors.Is(err, dsm.ErrCorrupt):
		s.log.Warn().Err(err).Str("event", "last-life-distrusted").Msg("the last life's control segment can't be trusted")
		return nil, nil
	case errors.Is(err, dsm.ErrStale): // it was being closed
		return nil, nil
	case err != nil:
		return nil, err
	}
	failpoint.Hit("supervisor/start/adopted")
	if left {
		s.reclaims = &h.Reclaims
		s.log.Info().Int("sessions", last.Present.Sessions).Uint64("generation", last.Present.Record.Generation).
			Int("pid", h.Pid).Time("since", h.Since).Str("event", "adopted-left").Msg("adopted the instance that its last supervisor left")
	} else {
		s.log.Info().Int("sessions", last.Present.Sessions).Uint64("generation", last.Present.Record.Generation).
			Str("event", "adopted").Msg("adopted the living sessions of a supervisor that died")
	}
	if err := last.Present.Record.Waiting(s.settings); err != nil {
		s.log.Warn().Err(err).Str("event", "settings-waiting").
			Msg("settings of dsm.conf hold when the instance begins anew, and not for memory that is adopted")
	}
	for name, err := range s.dir.Restore(m.Books.Record, s.log) {
		s.log.Warn().Err(err).Str("file", name).Str("event", "file-damaged").Msg("it was removed or damaged, and is written again")
	}
	return m, nil
}

var errUnstarted = fmt.Errorf("%w: this Supervisor was not started", dsm.ErrNoInstance)

// Status returns the state of the instance as a whole, read without a lock.
func (s *Supervisor) Status(ctx context.Context) (dsm.Status, error) {
	if s.dir == nil {
		return dsm.Status{}, fail("status", errUnstarted)
	}
	if moved, err := s.dir.Moved(); err == nil && moved {
		return dsm.Status{}, fail("status", fmt.Errorf("the directory %s was moved or removed: what is there now is "+
			"another instance's", s.dir.Path))
	}
	r, err := dsm.Inspect(ctx, s.cfg)
	return r.Status, err
}

// Done returns a channel that is closed when the supervisor has ended: by Stop, by Leave, or because it failed.
func (s *Supervisor) Done() <-chan struct{} { return s.done }

// Stop ends the instance: every session's Done is closed, sessions have shutdown_timeout to leave,
// then every segment, pinned or not, goes, and the control segment last. Stopping twice is harmless, and so is it after
// Leave, when the instance is no more this supervisor's to stop.
func (s *Supervisor) Stop() error {
	if s.dir == nil {
		return fail("stop", errUnstarted)
	}
	s.stop.Do(func() { close(s.stopping) })
	<-s.done
	return s.err
}

// run supervises one generation after the other, until it is stopped.
func (s *Supervisor) run(m *instance.Member) {
	var err error
	for m != nil {
		why, over := newWatch(s, m).run()
		if s.left {
			err = s.leaveToSuccessor(m)
			break
		}
		if m, err = s.end(m, why); over != nil || err != nil {
			err = errors.Join(over, err)
			s.log.Error().Err(err).Str("event", "instance-ended").Msg("the instance has ended")
		}
	}
	failpoint.Hit("supervisor/run/over")
	if s.private && err == nil && !s.left { // else the next start finds what is left by the directory
		err = s.dir.Remove(s.unlock)
	} else {
		s.unlock()
	}
	s.dir.Close()
	s.err = fail("supervise", err)
	close(s.done)
}

// end ends a generation. If there is a reason why, sessions are fenced and the next one begins.
func (s *Supervisor) end(m *instance.Member, why string) (next *instance.Member, err error) {
	ctx := context.Background()
	if why != "" {
		s.log.Warn().Str("event", "generation-begins").Msg(why + ": a new generation begins")
	}
	err = m.End(ctx, s.settings.ShutdownTimeout, why == "")
	failpoint.Hit("supervisor/end/ended")
	m.Books.Close()
	err = errors.Join(err, s.dir.Conclude(ctx, s.backends, m.Books.Record, s.log))
	if why == "" {
		s.dir.RemoveOldLives(ctx, s.backends, m.Books.Record, instance.DeathPatience, s.who, s.log)
	}
	failpoint.Hit("supervisor/end/swept")
	if why != "" {
		return s.beginAgain(ctx, m.Books.Record)
	}
	return nil, err
}

// beginAgain begins the generation after r's, and tries that until it succeeds or the supervisor is stopped: the
// directory's file system may be full, or the process without descriptors, for a while.
func (s *Supervisor) beginAgain(ctx context.Context, r instance.Record) (*instance.Member, error) {
	for told := false; ; told = true {
		next, err := s.beginAfter(ctx, r)
		if err == nil {
			return next, nil
		}
		if moved, merr := s.dir.Moved(); moved && merr == nil {
			return nil, err
		}
		if !told {
			s.log.Error().Err(instance.Explain(err)).
				Str("event", "generation-refused").Msg("the next generation can't begin now; it is tried again every second")
		}
		failpoint.Hit("supervisor/again/refused")
		select {
		case <-s.stopping:
			return nil, nil
		case answer := <-s.leaving:
			answer <- fmt.Errorf("the next generation can't begin now, so there is nothing to hand over: %w", err)
		case <-time.After(tidyEvery):
		}
	}
}

// beginAfter begins the generation after r's. Fenced sessions may keep the memory of the last
// one's reserved region for a while: a supervisor that is running goes on without one then.
func (s *Supervisor) beginAfter(ctx context.Context, r instance.Record) (*instance.Member, error) {
	reserved := s.settings.MinDynamicSharedMemory
	next, err := s.begin(ctx, r.Instance, r.Generation+1, reserved)
	if reserved > 0 && errors.Is(err, dsm.ErrNoSpace) {
		s.log.Warn().Err(err).Str("event", "region-refused").Msg("the new generation has no reserved region")
		next, err = s.begin(ctx, r.Instance, r.Generation+1, 0)
	}
	return next, err
}

func fail(op string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*dsm.Error](err); ok {
		return e
	}
	return &dsm.Error{Op: op, Err: instance.Explain(err)}
}
