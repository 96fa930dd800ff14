package shared

import (
	"flag"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/testing/proctest"
)

var storm = flag.Duration("storm", 2*time.Second, "how long TestStorm kills and stops processes")

// TestStorm has processes that all hand in and may all lead, and kills one after another, or stops it for longer than a
// lease.
func TestStorm(t *testing.T) {
	s := newStage(t, "posix")
	q := s.join(false)
	var own sync.WaitGroup
	over := make(chan struct{})
	own.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
				s.own(q, 50)
			}
		}
	})
	members := make([]*proctest.Process, 4)
	begin := func(i int) {
		members[i] = s.start("", "leads")
		_ = members[i].TrySend("go 1000000")
	}
	for i := range members {
		begin(i)
	}
	kills, stops := 0, 0
	for end := time.Now().Add(*storm); time.Now().Before(end); {
		time.Sleep(time.Duration(50+rand.IntN(150)) * time.Millisecond)
		i := rand.IntN(len(members))
		if rand.IntN(4) == 0 {
			stops++
			_ = members[i].Cmd.Process.Signal(syscall.SIGSTOP) // wakes continues it
			continue
		}
		kills++
		members[i].Kill()
		begin(i)
	}
	close(over)
	own.Wait()
	for _, m := range members {
		m.Kill()
	}
	if err := q.Close(ctx); err != nil {
		t.Error(err)
	}
	q = s.join(true)
	executed, told := s.judge(q)
	st, err := q.Stats()
	if err != nil {
		t.Error(err)
	}
	t.Logf("%d kills, %d stops, %d take-overs: %d commands were executed, %d acknowledged; %d settled, %d dropped, %d poison",
		kills, stops, st.Takeovers, executed, told, st.Settled, st.Dropped, st.Poisoned)
}
