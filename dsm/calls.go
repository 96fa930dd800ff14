package dsm

import "context"

// call runs f as one of the calls that Close waits for, unless the session has ended. Op and h name the call in the
// error.
func (s *Session) call(ctx context.Context, op string, h Handle, f func() error) error {
	err := s.beginCall(ctx)
	if err == nil {
		err = f()
		s.endCall()
	}
	return wrapErr(op, h, s.backend(), err)
}

// beginCall counts a call as in flight, so that the books stay mapped until end. It returns why the call must not
// begin, if ctx is over or the session has ended.
func (s *Session) beginCall(ctx context.Context) error { return s.beginCallUnless(ctx, s.endedLocked) }

// beginCallUnlessClosed begins a call that may be made in an instance that has ended.
func (s *Session) beginCallUnlessClosed() error {
	return s.beginCallUnless(context.Background(), func() error {
		if s.state != sessionOpen {
			return ErrClosed
		}
		return nil
	})
}

// beginCallUnless begins a call unless whyLocked, which is called under Session.mu, returns why none may begin.
func (s *Session) beginCallUnless(ctx context.Context, whyLocked func() error) error {
	if err := errIfOver(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	err := whyLocked()
	if err == nil {
		s.calls++
	}
	s.mu.Unlock()
	return err
}

// endCall ends a call that begin has counted. A call that took the control lock over from a dead process has that
// process's segments to remove: they are removed first, while the books are still certain to be mapped.
func (s *Session) endCall() {
	s.destroyOwed()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endCallLocked()
}

// endCallLocked counts a call as over, and wakes Close if it was the last. The caller holds Session.mu.
func (s *Session) endCallLocked() {
	if s.calls--; s.calls == 0 && s.state != sessionOpen {
		s.idle.Broadcast()
	}
}

// waitCallsIdleLocked waits until no call is in flight. The caller holds Session.mu, which the wait releases.
func (s *Session) waitCallsIdleLocked() {
	for s.calls > 0 {
		s.idle.Wait()
	}
}
