package cache

import "time"

// Pass makes the clock of this handle go forward.
func Pass(c *Cache, d time.Duration) { c.clock.born -= d; c.clock.measure(time.Since(c.clock.base)) }
