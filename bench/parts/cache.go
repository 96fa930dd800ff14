package parts

import (
	"context"
	"fmt"
	"time"

	"github.com/godsm/godsm/bench/figure"
	"github.com/godsm/godsm/bench/server"
	"github.com/godsm/godsm/bench/side"
)

const cachePart = "cache"

// The entries of most figures: keys of 16 bytes, values of 200.
const (
	cacheEntries = 200_000
	cacheValue   = 200
)

// Why others are quicker to set.
const (
	whyOldest = "it has one process, and overwrites what is oldest, whatever it is: no policy, no limit that is exact"
	whyLater  = "it leaves the eviction to another goroutine, and is above its limit until then"
)

// caches compares package cache with other caches: those of one Go process, and servers that are asked over a unix socket.
func caches(r Rivals) (list []figure.Figure) {
	add := func(f figure.Figure) { f.Part = cachePart; list = append(list, f) }
	get := func(name string) figure.Contender { return goSide(name, "cache/get", name, cacheEntries) }
	add(figure.Figure{Shape: fmt.Sprintf("get a value of 200 B, %d entries", cacheEntries), Sides: []figure.Contender{
		get(figure.Ours),
		why(goal(get("dshash.Bytes"), 1), "a get leaves a hit in the index, which a table without eviction does not"),
		why(goal(get("otter"), 0.6), "it hands out a pointer into its own heap; a value of all processes is copied out of a record: two waits for memory"),
		why(goal(get("fastcache"), 0.75), "it has one process, and keeps no policy"),
		asked("memcached", r.Memcached, 1.0/8),
		asked("Redis", r.Redis, 1.0/12),
	}})
	if len(pins()) > 1 {
		add(figure.Figure{Shape: "get, two processes at once", Pin: side.Diff, Sides: []figure.Contender{
			goSide(figure.Ours, "cache/two", cacheEntries),
			why(goal(goSide("one process", "cache/get", figure.Ours, cacheEntries), 1/0.9), "the memory is one, and both wait for it"),
		}})
		add(figure.Figure{Shape: "get while two processes set", Pin: side.Diff, Names: []string{"p50", "p99"}, Goal: "p99", Max: 20e3,
			Sides: []figure.Contender{goSide(figure.Ours, "cache/get beside sets", 2, cacheEntries)}})
	}
	set := func(name string) figure.Contender { return goSide(name, "cache/set", name, 64<<20) }
	add(figure.Figure{Shape: "set 200 B, evicting, 64 MiB", Sides: []figure.Contender{
		set(figure.Ours), why(goal(set("fastcache"), 2), whyOldest), why(set("otter"), whyLater),
	}})
	add(figure.Figure{Shape: "set 200 B, evicting, each timed", Names: []string{"p50", "p99.9"}, Goal: "p99.9", Max: 100e3,
		Sides: []figure.Contender{
			goSide(figure.Ours, "cache/set timed", figure.Ours, 64<<20),
			why(goSide("fastcache", "cache/set timed", "fastcache", 64<<20), whyOldest),
			why(goSide("otter", "cache/set timed", "otter", 64<<20), whyLater),
		}})
	for _, x := range []struct {
		key, value int
		most       float64
	}{{16, 200, 52}, {8, 50, 64}} {
		add(figure.Figure{Shape: fmt.Sprintf("bytes for each entry beside key and value, %d+%d B, 64 MiB", x.key, x.value),
			Unit: figure.Bytes, Max: x.most, Once: true,
			Sides: []figure.Contender{goSide(figure.Ours, "cache/overhead", x.key, x.value, 64<<20)}})
	}
	add(figure.Figure{Shape: "of the log that is no entry, after sizes have changed, 64 MiB", Unit: figure.Percent, Max: 5, Once: true,
		Names: []string{"at most", "200 B", "log-normal", "900-1100 B", "60-100 B", "3000-5000 B", "half overwrites"},
		Sides: []figure.Contender{goSide(figure.Ours, "cache/waste", 64<<20)}})
	filled := 2 << 30
	if r.Quick {
		filled = 64 << 20
	}
	add(figure.Figure{Shape: "attach a filled cache, and the first get, " + Size(filled), Names: []string{"p50", "p99"}, Max: 5e6,
		Sides: []figure.Contender{goSide(figure.Ours, "cache/attach", filled)}})
	return list
}

// asked returns a side that asks a server for what is in it.
func asked(name string, p *server.Program, atMost float64) figure.Contender {
	return figure.Contender{Rival: name, Goal: atMost,
		Open: func(ctx context.Context, pin side.Pin, target time.Duration) (side.Side, error) {
			if err := p.Ready(ctx); err != nil {
				return nil, err
			}
			return goSide(name, "cache/get", name, cacheEntries).Open(ctx, pin, target)
		}}
}
