package dsm

import (
	"context"

	"github.com/godsm/godsm/internal/instance"
)

// lastOfPrivate reports whether this session is the last to leave a private instance whose supervisor is dead. It
// waits up to instance.DeathPatience for killed processes to release their witness.
func (s *Session) lastOfPrivate() bool {
	m := s.member
	return m.Books.Record.Private && !m.Books.Supervised() && m.Books.Deserted(instance.DeathPatience)
}

// cleanPrivate removes the private instance if its directory's lock is free. If it is held, its holder removes or
// adopts the instance.
func (s *Session) cleanPrivate() {
	dir, who := s.member.Books.Dir, instance.Who(s.config.Application)
	if unlock, err := dir.Lock(instance.HolderOf(who)); err == nil {
		dir.RemovePrivate(context.Background(), s.backends, who, 0, s.log, unlock)
	}
}
