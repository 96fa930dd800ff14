package supervisor

import (
	"context"
	"errors"
	"fmt"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/instance"
)

var errStopped = fmt.Errorf("%w: it was stopped, and nothing is left to hand over", dsm.ErrNoInstance)

// Leave ends the supervisor and hands the instance over: sessions go on, and everything that is pinned stays for the
// next Start, in this process or another one, which adopts it. It returns when the directory is free for that Start.
// So a new version of a program takes over without losing memory.
//
// Until then no process watches. Sessions may join and leave, and reclaim each other's dead; what dies and is not
// reclaimed by a session is reclaimed by the next Start. Status says since when that is so (Status.Left). If no Start
// comes, the memory stays until the machine ends or the instance is removed by force (dsmctl clean --force). Memory that
// the system removes with its last user, as Windows does, stays as long as sessions have it.
//
// A private instance is handed over to its sessions: the last of them to leave removes it, or Leave itself if there
// is none.
//
// An error says that the instance was not handed over, and why; the supervisor then goes on, unless it had ended. After
// Stop it is ErrNoInstance. Leaving twice is harmless. Leave waits for the control lock, for up to a second.
func (s *Supervisor) Leave() error {
	if s.dir == nil {
		return fail("leave", errUnstarted)
	}
	answer := make(chan error)
	select {
	case s.leaving <- answer:
		if err := <-answer; err != nil {
			return fail("leave", err)
		}
		<-s.done
	case <-s.done:
	}
	switch {
	case s.left:
		return s.err
	case s.err != nil:
		return fail("leave", s.err)
	}
	return fail("leave", errStopped)
}

// leaveToSuccessor frees the supervisor's row of an instance that was handed over. A row that can't be freed is as
// that of a supervisor that died: the next one takes it.
func (s *Supervisor) leaveToSuccessor(m *instance.Member) error {
	failpoint.Hit("supervisor/leave/unwatched")
	ctx, cancel := context.WithTimeout(context.Background(), reclaimPatience)
	defer cancel()
	if err := m.Leave(ctx); err != nil {
		s.log.Warn().Err(instance.Explain(err)).Str("event", "leave-row-kept").Msg("the supervisor's row can't be freed now; the next supervisor takes it as a dead one's")
	}
	failpoint.Hit("supervisor/leave/parted")
	living, err := m.Books.Living()
	m.Books.Close()
	if s.private && living == 0 && err == nil {
		_, gone := s.dir.RemovePrivate(context.Background(), s.backends, s.who, instance.DeathPatience, s.log, s.unlock)
		s.unlock = func() {}
		if !gone {
			return errors.New("something of the private instance is left: the next start of this user removes it")
		}
	}
	s.log.Info().Str("event", "left").Msg("left the instance to the next supervisor")
	return nil
}
