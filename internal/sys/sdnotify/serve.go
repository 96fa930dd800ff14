package sdnotify

import (
	"context"
	"sync"
	"time"
)

// Service describes to a manager the service that it has started.
type Service struct {
	// Look returns nil when it has seen that the service does its work. It is called at half of the watchdog's interval, if
	// the manager has a watchdog, with that much time; as long as it fails or does not return, the manager is not told that
	// the service lives, and ends it after a while.
	Look func(context.Context) error

	// Status says in a line how the service is. It is called after each look, or every ten seconds.
	Status func(context.Context) string
}

// statusEvery is how often the status is told where there is no watchdog.
const statusEvery = 10 * time.Second

// Serve tells the manager that the service is ready and, from then on, how it is. It returns at once. Stop ends that, and
// waits for a look that is under way; it may be called twice.
func (m *Manager) Serve(s Service) (stop func()) {
	if m == nil {
		return func() {}
	}
	every := m.watchdog / 2
	if every == 0 {
		every = statusEvery
	}
	ticker := time.NewTicker(every)
	end := m.serve(s, every, ticker.C)
	return func() { end(); ticker.Stop() }
}

func (m *Manager) serve(s Service, every time.Duration, ticks <-chan time.Time) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ready := m.tell("READY=1", statusLine(s.Status(ctx))) == nil
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticks:
			}
			bounded, over := context.WithTimeout(ctx, every)
			var lines []string
			if err := s.Look(bounded); err != nil {
				lines = append(lines, statusLine("does not answer: "+err.Error()))
			} else {
				if !ready { // there was no room for it
					lines = append(lines, "READY=1")
				}
				if m.watchdog > 0 {
					lines = append(lines, "WATCHDOG=1")
				}
				lines = append(lines, statusLine(s.Status(bounded)))
			}
			over()
			if ctx.Err() == nil && m.tell(lines...) == nil && lines[0] == "READY=1" {
				ready = true
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}
