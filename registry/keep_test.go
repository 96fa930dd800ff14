package registry

import "testing"

// TestKeepSpare: what is spare is detached without the session's mutex, since that may wait for others.
func TestKeepSpare(t *testing.T) {
	n := &names{attached: map[attachment]any{}}
	if got := keepAttachment(n, wish{}, 7, "first", nil); got != "first" {
		t.Error(got)
	}
	spared := false
	got := keepAttachment(n, wish{}, 7, "second", func() error {
		if spared = n.mu.TryLock(); spared {
			n.mu.Unlock()
		}
		return nil
	})
	if got != "first" || !spared {
		t.Errorf("%s is kept, the other one spared without the mutex: %v", got, spared)
	}
}
