package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// The monkey has two hands, each with a source of chance of its own, so that with one seed each makes
// the same decisions in the same order. What a blow finds its victim at is the scheduler's to say.

// tick is the mean pause between two blows at workers.
const tick = 6 * time.Millisecond

func (r *run) chance(hand uint64) *rand.Rand { return rand.New(rand.NewPCG(r.Seed, 1<<63|hand)) }

// pause waits for d and reports whether it has: not if ctx was over first.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// hitWorkers kills and stops workers.
func (r *run) hitWorkers(ctx context.Context) {
	rng := r.chance(1)
	for pause(ctx, time.Duration(min(rng.ExpFloat64(), 10)*float64(tick))) {
		victim, blow, long := rng.IntN(r.Workers), rng.IntN(1000), stopFor(rng)
		switch {
		case r.Sabotage == "stuck" && victim == 0:
		case blow < 2: // all at once
			for i := range r.Workers {
				r.killWorker(i)
			}
		case blow < 40 && canStop:
			r.manned.Add(1)
			go func() { defer r.manned.Done(); r.stopWorker(ctx, victim, long, blow < 15) }()
		default:
			r.killWorker(victim)
		}
	}
}

// stopFor returns how long a stopped process stays so: mostly a moment, at times longer than others wait for a lock.
func stopFor(rng *rand.Rand) time.Duration {
	d := time.Duration(rng.IntN(60_000)) * time.Microsecond
	if rng.IntN(20) == 0 {
		d *= 20
	}
	return d
}

func (r *run) killWorker(desk int) {
	if p := r.desks[desk].Load(); p != nil && !p.wasKilled() {
		r.coroner.kill(p)
	}
}

func (r *run) stopWorker(ctx context.Context, desk int, d time.Duration, thenKill bool) {
	p := r.desks[desk].Load()
	if p == nil || p.wasKilled() {
		return
	}
	p.stop()
	pause(ctx, d)
	if thenKill && !p.wasKilled() {
		r.coroner.kill(p)
	}
	p.cont()
}

// fair reports whether a supervisor is at work. The weather is another number after each change, and odd while none is.
func fair(weather uint64) bool { return weather%2 == 0 }

// hitSupervisor kills the supervisor from time to time and starts the next one under living
// workers, or stops it for a while. The first blow comes early, so that a short run has one.
func (r *run) hitSupervisor(ctx context.Context) {
	rng := r.chance(2)
	for first := true; ; first = false {
		wait := 700*time.Millisecond + time.Duration(rng.IntN(2500))*time.Millisecond
		kill, thenKill, long, down := rng.IntN(10) < 6, rng.IntN(2) == 0, stopFor(rng),
			time.Duration(rng.IntN(100))*time.Millisecond
		if !pause(ctx, wait) || r.Restarts && !canStop {
			return
		}
		r.weather.Add(1)
		if r.Restarts || !kill && !first && canStop {
			r.supervisor.stop()
			pause(ctx, long)
			if r.Restarts || !thenKill {
				r.supervisor.cont()
				r.weather.Add(1)
				continue
			}
		}
		r.supervisor.kill()
		r.kills.Add(1)
		r.supervisorKills.Add(1)
		<-r.supervisor.ended
		pause(ctx, down)
		p, _, err := r.startSupervisor("--dir", r.dir)
		if err != nil {
			r.fail(fmt.Errorf("no supervisor takes over: %w", err))
			return
		}
		r.supervisor = p
		r.weather.Add(1)
	}
}
