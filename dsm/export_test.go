package dsm

// Abandon leaves a session as the death of its process would: its mappings and its witness go, and nothing is
// given back. No method but Close may be called afterwards, which then does nothing.
func Abandon(s *Session) {
	s.mu.Lock()
	s.state = sessionLeft
	s.endLocked(ErrClosed)
	s.mu.Unlock()
	s.stopWatching()
	for _, h := range s.table {
		for ; h != nil; h = h.next {
			if h.held.Mapping.Bytes != nil {
				_ = s.member.Books.Backend.Detach(h.held.Mapping)
			}
		}
	}
	for a := s.attachments; a != nil; a = a.next {
		if a.own.Bytes != nil {
			_ = s.member.Books.Backend.Detach(a.own)
		}
	}
	if s.member.Books.Region.Bytes != nil {
		_ = s.member.Books.Backend.Detach(s.member.Books.Region)
	}
	s.member.Books.Roll.Close()
	s.member.Books.Table.Nudge() // the kernel tells the supervisor of a process; here this function must
	s.member.Books.Close()
	close(s.gone)
}

// HasHolding reports whether a session's table has a holding for a handle, in motion or at rest.
func HasHolding(s *Session, h Handle) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table.find(h) != nil
}

// BeginCall begins a call, for which Close waits, and returns what ends it.
func BeginCall(s *Session) (end func(), err error) { return s.endCall, s.beginCallUnlessClosed() }
