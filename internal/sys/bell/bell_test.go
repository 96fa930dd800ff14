package bell

import (
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/testing/proctest"
)

func TestMain(m *testing.M) { proctest.Main(m) }

func init() {
	proctest.Register("ringer", func(c *proctest.Child) error {
		for {
			line, ok := c.Hear()
			if !ok {
				return nil
			}
			name, err := strconv.ParseUint(line, 10, 64)
			if err != nil {
				return err
			}
			c.Say("%v", Ring(name))
		}
	})
}

// sleeper waits at a bell, and for nothing else.
type sleeper struct {
	*Bell
	awake atomic.Bool
}

func newSleeper(t *testing.T) *sleeper {
	t.Helper()
	s := &sleeper{}
	if s.Bell = New(s.awake.Load); s.Bell == nil {
		t.Skip("skipped: this system has no bells")
	}
	t.Cleanup(s.Close)
	return s
}

// TestRung: each ring from another process ends a wait, whenever it comes.
func TestRung(t *testing.T) {
	s := newSleeper(t)
	p := proctest.Start(t, "ringer")
	for range 200 {
		rung := make(chan bool)
		go func() {
			for !s.awake.Load() {
				s.Wait(time.Hour)
			}
			rung <- true
		}()
		s.awake.Store(true)
		p.Send("%d", s.Name())
		p.Expect("true")
		<-rung
		s.awake.Store(false)
	}
}

// TestReady: who becomes ready and is rung then does not sleep on, whichever comes first, and rings that no goroutine
// took don't fill the socket.
func TestReady(t *testing.T) {
	s := newSleeper(t)
	asleep := make(chan bool)
	go func() {
		for range asleep {
			s.awake.Store(true)
			if !Ring(s.Name()) {
				t.Error("not to be reached")
			}
		}
	}()
	for range 5000 {
		asleep <- true
		for !s.awake.Load() {
			s.Wait(time.Hour)
		}
		s.awake.Store(false)
	}
	close(asleep)
}

// TestLate: a wait ends when its time has come, or with an interrupt, and the next one waits again.
func TestLate(t *testing.T) {
	s := newSleeper(t)
	for range 3 {
		for !s.Wait(time.Millisecond) {
		}
		done := make(chan bool)
		go func() {
			for !s.awake.Load() {
				s.Wait(time.Hour)
			}
			done <- true
		}()
		s.awake.Store(true)
		s.Interrupt()
		<-done
		s.awake.Store(false)
	}
}

// TestNobody: a bell that is gone, or never was, can't be rung.
func TestNobody(t *testing.T) {
	s := newSleeper(t)
	p := proctest.Start(t, "ringer")
	p.Send("%d", s.Name())
	p.Expect("true")
	s.Close()
	p.Send("%d", s.Name())
	p.Expect("false")
	p.Send("%d", uint64(1))
	p.Expect("false")
}

// TestManyUntaken: however many rings no goroutine has taken yet, another bell is heard.
func TestManyUntaken(t *testing.T) {
	for range 400 {
		busy := newSleeper(t)
		if !Ring(busy.Name()) {
			t.Fatal("not to be reached")
		}
	}
	s := newSleeper(t)
	rung := make(chan bool)
	go func() {
		for !s.awake.Load() {
			s.Wait(time.Hour)
		}
		rung <- true
	}()
	for {
		runtime.Gosched()
		select {
		case <-rung:
			return
		default:
			s.awake.Store(true)
			Ring(s.Name())
		}
	}
}

// TestFlood: rings without end keep no goroutine from looking after other things.
func TestFlood(t *testing.T) {
	s := newSleeper(t)
	var over atomic.Bool
	defer over.Store(true)
	go func() {
		for !over.Load() {
			Ring(s.Name())
		}
	}()
	for range 100 {
		s.Wait(time.Hour)
	}
}
