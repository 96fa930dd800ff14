package logcache_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/godsm/godsm/shm/logcache"
)

// clock is a time that a test sets.
type clock struct{ now uint32 }

func (c *clock) read() uint32 { return c.now }

func put(t *testing.T, c *logcache.Cache, key string, e logcache.Entry, when logcache.Condition) bool {
	t.Helper()
	done, err := c.Put(ctx, []byte(key), e, when)
	must(t, err)
	return done
}

func get(t *testing.T, c *logcache.Cache, key string) (string, bool) {
	t.Helper()
	v, found, err := c.Get([]byte(key), nil)
	must(t, err)
	return string(v), found
}

// TestConditions: a Put stores only if its condition holds, for short values and for those in pieces.
func TestConditions(t *testing.T) {
	c := heap(t, 1<<20, logcache.Options{})
	long := bytes.Repeat([]byte("long"), 5000)
	for name, value := range map[string][]byte{"short": []byte("x"), "long": long} {
		e := logcache.Entry{Value: value}
		other := logcache.Entry{Value: append([]byte("other"), value...)}
		if put(t, c, name, e, logcache.IfPresent) {
			t.Errorf("%s: IfPresent held without an entry", name)
		}
		if !put(t, c, name, e, logcache.IfAbsent) || put(t, c, name, other, logcache.IfAbsent) {
			t.Errorf("%s: IfAbsent is wrong", name)
		}
		if v, _ := get(t, c, name); v != string(value) {
			t.Errorf("%s: %d bytes", name, len(v))
		}
		_, stamp, found, err := c.Look([]byte(name), nil, true)
		if !found || err != nil {
			t.Fatal(found, err)
		}
		if !put(t, c, name, other, logcache.If(stamp)) || put(t, c, name, e, logcache.If(stamp)) {
			t.Errorf("%s: If is wrong", name)
		}
		if v, _ := get(t, c, name); v != "other"+string(value) {
			t.Errorf("%s: %d bytes", name, len(v))
		}
		if !put(t, c, name, e, logcache.IfPresent) {
			t.Errorf("%s: IfPresent did not hold", name)
		}
	}
	clean(t, c)
}

// TestLifetimes: what is stale, absent, idle or out of date by a tag is not found by Get.
func TestLifetimes(t *testing.T) {
	now := &clock{100}
	c := heap(t, 1<<20, logcache.Options{Now: now.read, Checked: true})
	tag, err := c.TagOf([]byte("red"))
	must(t, err)
	other, err := c.TagOf([]byte("blue"))
	must(t, err)
	put(t, c, "stale", logcache.Entry{Value: []byte("s"), Expires: 300, Fresh: 200}, logcache.Condition{})
	put(t, c, "absent", logcache.Entry{Absent: true, Expires: 300}, logcache.Condition{})
	put(t, c, "idle", logcache.Entry{Value: []byte("i"), Fresh: 140, Idle: 40}, logcache.Condition{})
	put(t, c, "tagged", logcache.Entry{Value: []byte("t"), Tags: [4]logcache.Tag{other, tag}}, logcache.Condition{})
	put(t, c, "free", logcache.Entry{Value: []byte("f")}, logcache.Condition{})
	look := func(key string) string {
		e, _, found, err := c.Look([]byte(key), nil, true)
		must(t, err)
		v, fresh := get(t, c, key)
		return fmt.Sprintf("%s %v %v %v %s %v", e.Value, found, e.Absent, e.Stale(now.now), v, fresh)
	}
	for _, x := range []struct {
		at   uint32
		key  string
		want string
	}{
		{100, "stale", "s true false false s true"}, {100, "absent", " true true false  false"}, {100, "idle", "i true false false i true"},
		{100, "tagged", "t true false false t true"},
		{199, "stale", "s true false false s true"}, {200, "stale", "s true false true  false"}, {300, "stale", " false false false  false"},
		{299, "absent", " true true false  false"}, {300, "absent", " false false false  false"},
		{120, "idle", "i true false false i true"}, {159, "idle", "i true false false i true"}, {180, "idle", "i true false false i true"},
		{220, "idle", " false false false  false"},
	} {
		now.now = x.at
		if got := look(x.key); got != x.want {
			t.Errorf("%s at %d: %q, want %q", x.key, x.at, got, x.want)
		}
	}
	must(t, c.DeleteTag([]byte("red")))
	if got := look("tagged"); got != " false false false  false" {
		t.Errorf("a tag was deleted: %q", got)
	}
	if got := look("free"); got != "f true false false f true" {
		t.Errorf("an entry without tags: %q", got)
	}
	if e, found, err := c.Peek([]byte("free"), nil); !found || err != nil || e.Value != nil {
		t.Errorf("Peek: %+v, %v, %v", e, found, err)
	}
	clean(t, c)
}

// TestLoads: one claims a load, others wait for it; a change of the key in between keeps the value out.
func TestLoads(t *testing.T) {
	c := heap(t, 1<<20, logcache.Options{})
	key := []byte("key")
	claim := func(over bool) (logcache.LoadClaim, bool) {
		l, mine, err := c.Claim(ctx, key, over)
		must(t, err)
		return l, mine
	}
	for name, change := range map[string]func(){
		"nothing": func() {},
		"set":     func() { must(t, c.Set(ctx, key, []byte("set"), 0)) },
		"delete":  func() { _, err := c.Delete(ctx, key); must(t, err) },
		"purge":   func() { must(t, c.Purge(ctx)) },
		"over":    func() { _, mine := claim(true); _ = mine },
	} {
		must(t, c.Purge(ctx))
		l, mine := claim(false)
		wait, theirs := claim(false)
		if !mine || theirs {
			t.Fatalf("%s: claimed %v, then %v", name, mine, theirs)
		}
		if tired, err := c.Await(ctx, wait, 1); !tired || err != nil {
			t.Errorf("%s: a load under way: %v, %v", name, tired, err)
		}
		change()
		done := put(t, c, "key", logcache.Entry{Value: []byte("loaded")}, logcache.During(l))
		v, _ := get(t, c, "key")
		if done != (name == "nothing") || (v == "loaded") != done || name == "set" && v != "set" {
			t.Errorf("%s: stored %v, and the value is %q", name, done, v)
		}
		if name != "over" {
			if tired, err := c.Await(ctx, wait, 0); tired || err != nil {
				t.Errorf("%s: a load that is over: %v, %v", name, tired, err)
			}
		} else if l, mine, err := c.Claim(ctx, key, true); !mine || err != nil || c.Abandon(ctx, l) != nil {
			t.Errorf("%s: %v, %v", name, mine, err)
		}
	}
	l, _ := claim(false)
	wait, _ := claim(false)
	must(t, c.Fail(ctx, l, logcache.Failed, "no bread"))
	var fail *logcache.LoadError
	if _, err := c.Await(ctx, wait, 0); !errors.As(err, &fail) || fail.Text != "no bread" || fail.Failure != logcache.Failed {
		t.Errorf("a failed load: %v", err)
	}
	l, _ = claim(false)
	wait, _ = claim(false)
	must(t, c.Fail(ctx, l, logcache.Panicked, "no bread"+strings.Repeat(" in the house", 1<<16)+" at all"))
	if _, err := c.Await(ctx, wait, 0); !errors.As(err, &fail) || len(fail.Text) > 112 || fail.Failure != logcache.Panicked ||
		!strings.HasPrefix(fail.Text, "no bread in the") || !strings.HasSuffix(fail.Text, " at all") {
		t.Errorf("a load that failed with a long text: %v", err)
	}
	clean(t, c)
}

// TestManyLoads: more loads than there is room for go on, each for itself.
func TestManyLoads(t *testing.T) {
	c := heap(t, 1<<20, logcache.Options{})
	var leases []logcache.LoadClaim
	for k := range 500 {
		l, mine, err := c.Claim(ctx, name(k), false)
		must(t, err)
		if !mine {
			t.Fatalf("load %d is another's", k)
		}
		leases = append(leases, l)
	}
	for k, l := range leases {
		if !put(t, c, string(name(k)), logcache.Entry{Value: text(k, 0, 50)}, logcache.During(l)) && k < 8 {
			t.Errorf("load %d was not stored", k)
		}
	}
	if s := c.Stats(); s.Entries < 8 || uint64(500-s.Entries) != s.Refused {
		t.Errorf("%+v", s)
	}
	must(t, c.Set(ctx, name(1), text(1, 1, 60), 0))
	clean(t, c)
}

// TestWalk: all entries that stay are walked, beside a writer; each has its value.
func TestWalk(t *testing.T) {
	c := heap(t, 4<<20, logcache.Options{})
	for k := range 3000 {
		must(t, c.Set(ctx, name(k), text(k, 0, 20+k%300), 0))
	}
	must(t, c.Set(ctx, []byte("large"), bytes.Repeat([]byte("0123456789"), 3000), 0))
	stop := make(chan struct{})
	var busy sync.WaitGroup
	busy.Go(func() {
		for k := 10_000; ; k++ {
			select {
			case <-stop:
				return
			default:
				_ = c.Set(ctx, name(10_000+k%2000), text(k, 0, 100), 0)
			}
		}
	})
	seen := map[string]bool{}
	must(t, c.Walk(ctx, func(i logcache.Item) bool {
		seen[string(i.Key)] = true
		if string(i.Key) == "large" && (len(i.Entry.Value) != 30_000 || i.Size < 30_000) {
			t.Errorf("the large one has %d bytes, size %d", len(i.Entry.Value), i.Size)
		}
		return true
	}))
	close(stop)
	busy.Wait()
	for k := range 3000 {
		if _, found := get(t, c, string(name(k))); found && !seen[string(name(k))] {
			t.Errorf("key %d was not walked", k)
		}
	}
	if !seen["large"] {
		t.Error("the large one was not walked")
	}
	n := 0
	must(t, c.Walk(ctx, func(logcache.Item) bool { n++; return n < 5 }))
	if n != 5 {
		t.Errorf("a walk that ends after 5 has seen %d", n)
	}
}

// TestPurge: nothing is found afterwards, and the room is there again.
func TestPurge(t *testing.T) {
	c := heap(t, 1<<20, logcache.Options{})
	for range 3 {
		for k := range 12_000 {
			must(t, c.Set(ctx, name(k), text(k, 0, 100), 0))
		}
		before := c.Stats()
		must(t, c.Purge(ctx))
		if s := c.Stats(); s.Entries != 0 || s.Used != 0 || s.Purged < uint64(before.Entries) || before.Used == 0 {
			t.Errorf("%+v, then %+v", before, s)
		}
		if _, found := get(t, c, string(name(19_999))); found {
			t.Error("an entry is there after a Purge")
		}
		if r := clean(t, c); r.Entries != 0 {
			t.Errorf("%+v", r)
		}
	}
}

// TestResize: memory that is out of use is given back and asked for again, entries that fit stay, and others go.
func TestResize(t *testing.T) {
	const limit = 8 << 20
	c := heap(t, limit, logcache.Options{})
	gone := 0
	room := logcache.Room{
		Release: func(b []byte) error { clear(b); gone += len(b); return nil },
		Reserve: func(b []byte) error { gone -= len(b); return nil },
	}
	n := 60_000
	if !logcache.Lockless { // each step takes so long
		n = 6000
	}
	fill := func() {
		for k := range n {
			must(t, c.Set(ctx, name(k), text(k, 0, 150), 0))
		}
	}
	fill()
	full := c.Stats().Entries
	for _, to := range []int{6 << 20, 5 << 20, 7 << 20, c.Least(), limit, 4 << 20, limit} {
		before := c.Stats()
		must(t, c.Resize(ctx, to, room))
		if c.Limit() != to || limit-gone > to || to == limit && gone != 0 {
			t.Errorf("resized to %d: %d, %d bytes given back", to, c.Limit(), gone)
		}
		after := c.Stats()
		if limit-gone < to-2*16<<10-limit/512*16 {
			t.Errorf("resized to %d: only %d are in use", to, limit-gone)
		}
		if after.Entries < min(before.Entries, full*(limit-gone-limit/4)/limit) {
			t.Errorf("resized to %d: %d of %d entries stay, of %d", to, after.Entries, before.Entries, full)
		}
		clean(t, c)
		fill()
		clean(t, c)
	}
	if n := c.Stats().Entries; n < full*90/100 {
		t.Errorf("%d entries, and once %d", n, full)
	}
	for _, wrong := range []int{0, c.Least() - 1, limit + 1} {
		if err := c.Resize(ctx, wrong, room); !errors.Is(err, logcache.ErrSize) {
			t.Errorf("to %d bytes: %v", wrong, err)
		}
	}
	broken := errors.New("no memory")
	must(t, c.Resize(ctx, 4<<20, room))
	if err := c.Resize(ctx, limit, logcache.Room{Reserve: func([]byte) error { return broken }}); !errors.Is(err, broken) {
		t.Errorf("without memory: %v", err)
	}
	fill()
	clean(t, c)
}

// TestCurve: the models say that a larger cache hits more, and about what this one hits.
func TestCurve(t *testing.T) {
	if !logcache.Lockless {
		t.Skip("a million lookups take minutes in this build, and one goroutine makes them all")
	}
	c := heap(t, 8<<20, logcache.Options{})
	if len(c.Curve()) != 0 {
		t.Errorf("at first %v", c.Curve())
	}
	d := dice(88172645463325252)
	hits, n := 0, 0
	for i := range 900_000 {
		k := d.below(1 + d.below(1+d.below(400_000)))
		_, found, err := c.Get(name(k), nil)
		must(t, err)
		if i > 500_000 {
			n++
			if found {
				hits++
			}
		}
		if !found {
			must(t, c.Set(ctx, name(k), text(k, 0, 60), 0))
		}
	}
	list := c.Curve()
	if len(list) != 4 {
		t.Fatalf("%v", list)
	}
	for i := range 3 {
		if list[i].HitRate >= list[i+1].HitRate {
			t.Errorf("%v", list)
		}
	}
	if is := float64(hits) / float64(n); list[1].HitRate < is-0.08 || list[1].HitRate > is+0.08 {
		t.Errorf("%.3f are hit, and the curve is %v", is, list)
	}
	t.Logf("%.3f; %v", float64(hits)/float64(n), list)
}
