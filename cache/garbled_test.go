package cache_test

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/registry"
)

// TestGarbled: whatever a neighbour writes over a cache, calls end without a panic or a fault, in checked mode no
// value is wrong, and a Purge or a new cache works.
func TestGarbled(t *testing.T) {
	cfg, s := instance(t)
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(uint64(seed), 1))
	rounds := 60 / slow
	if testing.Short() {
		rounds = 15 / slow
	}
	for round := range rounds {
		c := open(t, s, "c", cache.Options{Limit: 1 << 20, Checked: true, TTL: time.Hour})
		for k := range 3000 {
			must(t, c.Set(ctx, []byte(name(k)), []byte(value(name(k))), cache.With{Tags: []string{name(k % 7)}}))
		}
		names, err := registry.List(ctx, s)
		must(t, err)
		g, err := s.Attach(ctx, s.Owner(), names[0].Handle)
		must(t, err)
		b := g.Bytes()
		for range 1 + rnd.IntN(200) {
			at := rnd.IntN(len(b)/8) * 8
			if round%3 == 0 {
				at = rnd.IntN(1 << 14) // heads, shards, lives, rows
				at &^= 7
			}
			v := rnd.Uint64()
			if round%2 == 0 {
				v = binary.NativeEndian.Uint64(b[at:]) ^ 1<<rnd.IntN(64)
			}
			binary.NativeEndian.PutUint64(b[at:], v)
		}
		other := instancetest.Open(t, cfg)
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		d, err := cache.Open(short, other, "c", cache.Options{Limit: 1 << 20, Checked: true})
		list := []*cache.Cache{c}
		if err == nil {
			list = append(list, d)
		}
		for _, c := range list {
			for k := range 3000 {
				v, found, err := c.Get([]byte(name(k)), nil)
				if found && err == nil && string(v) != value(name(k)) {
					t.Errorf("round %d: %s is %q", round, name(k), v)
				}
				_ = c.Set(short, []byte(name(k+5)), []byte(value(name(k+5))))
			}
			_, _ = c.Load(short, []byte("loaded"), nil, func(context.Context) ([]byte, error) { return []byte("x"), nil })
			_, _ = c.Verify(short)
			_, _ = c.Stats()
			for _, err := range c.All(short) {
				if err != nil {
					break
				}
			}
			_ = c.Resize(short, 1<<20)
			_ = c.Purge(short)
			_ = c.Limit()
		}
		cancel()
		must(t, c.Close())
		must(t, g.Detach())
		must(t, other.Close())
		must(t, registry.Delete(ctx, s, "c"))
	}
}
