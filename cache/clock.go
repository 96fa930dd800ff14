package cache

import (
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/internal/sys/boottime"
)

// tick is the unit in which the cache keeps times: 32 bits of it are 4.2 years.
const tick = time.Second / 32

// clock tells the time since the cache was made, the same in all processes. It never goes back in one.
type clock struct {
	born     time.Duration // as boottime says
	base     time.Time     // of this process
	ahead    atomic.Int64  // the cache's age at base
	measured atomic.Int64  // time since base, at which ahead was looked at
	latest   atomic.Uint32
}

func newClock(born time.Duration) *clock {
	c := &clock{born: born, base: time.Now()}
	c.measure(0)
	return c
}

func (c *clock) measure(since time.Duration) {
	c.ahead.Store(int64(boottime.Now() - c.born - since))
	c.measured.Store(int64(since))
}

// now returns the time in ticks, which never goes back and is never 0.
func (c *clock) now() uint32 {
	since := time.Since(c.base)
	if since-time.Duration(c.measured.Load()) > time.Second { // the machine may have slept
		c.measure(since)
	}
	n := uint32(max((since+time.Duration(c.ahead.Load()))/tick, 0)) + 1
	for {
		latest := c.latest.Load()
		if n <= latest {
			return latest
		}
		if c.latest.CompareAndSwap(latest, n) {
			return n
		}
	}
}

// after returns the time that is d from now, 0 if that is too far away or d is no time.
func (c *clock) after(d time.Duration) uint32 {
	n := uint64(c.now()) + uint64(ticks(d))
	if d <= 0 || n >= 1<<32 {
		return 0
	}
	return uint32(n)
}

// ticks returns how many d is, rounded up.
func ticks(d time.Duration) uint64 { return uint64((d + tick - 1) / tick) }

// until returns how long it is to a time.
func (c *clock) until(t uint32) time.Duration { return time.Duration(int64(t)-int64(c.now())) * tick }
