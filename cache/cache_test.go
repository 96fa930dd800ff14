package cache_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/registry"
)

// TestAllCalls: what one session sets another one gets, in each way that there is.
func TestAllCalls(t *testing.T) {
	cfg, s := instance(t)
	_ = cfg
	a, b := open(t, s, "c", cache.Options{}), open(t, s, "c", cache.Options{})
	k := func(s string) []byte { return []byte(s) }
	yes := func(what string, got bool, err error) func(want bool) {
		return func(want bool) {
			t.Helper()
			if got != want || err != nil {
				t.Errorf("%s: %v, %v", what, got, err)
			}
		}
	}
	must(t, a.Set(ctx, k("a"), k("1")))
	if got := get(t, b, "a"); got != "1" {
		t.Errorf("Get: %q", got)
	}
	done, err := a.Add(ctx, k("a"), k("2"))
	yes("Add", done, err)(false)
	done, err = a.Add(ctx, k("b"), k("2"))
	yes("Add", done, err)(true)
	done, err = a.Replace(ctx, k("c"), k("3"))
	yes("Replace", done, err)(false)
	done, err = a.Replace(ctx, k("b"), k("3"))
	yes("Replace", done, err)(true)
	done, err = a.CompareAndSet(ctx, k("b"), k("2"), k("4"))
	yes("CompareAndSet", done, err)(false)
	done, err = a.CompareAndSet(ctx, k("b"), k("3"), k("4"))
	yes("CompareAndSet", done, err)(true)
	if got := get(t, b, "b"); got != "4" {
		t.Errorf("b is %q", got)
	}
	for want := int64(5); want < 20; want += 5 {
		if n, err := a.Incr(ctx, k("n"), 5); n != want || err != nil {
			t.Errorf("Incr: %d, %v, want %d", n, err, want)
		}
	}
	if v := get(t, b, "n"); binary.LittleEndian.Uint64(k(v)) != 15 {
		t.Errorf("n is %q", v)
	}
	if _, err := a.Incr(ctx, k("a"), 1); !errors.Is(err, cache.ErrMismatch) {
		t.Errorf("Incr of what is no number: %v", err)
	}
	must(t, a.SetMany(ctx, []cache.Item{{Key: k("x"), Value: k("7")}, {Key: k("y"), Value: k("8")}}, cache.With{Tags: []string{"xy"}}))
	got := ""
	must(t, b.GetMany([][]byte{k("x"), k("absent"), k("y")}, func(i int, v []byte) { got += string(rune('0'+i)) + string(v) }))
	if got != "0728" {
		t.Errorf("GetMany: %q", got)
	}
	found, err := b.GetFunc(k("x"), func(v []byte) { got = string(v) })
	if yes("GetFunc", found, err)(true); got != "7" {
		t.Errorf("GetFunc: %q", got)
	}
	found, err = b.Has(k("x"))
	yes("Has", found, err)(true)
	if v, found, err := b.Peek(k("x"), k("=")); string(v) != "=7" || !found || err != nil {
		t.Errorf("Peek: %q, %v, %v", v, found, err)
	}
	must(t, b.DeleteTag("xy"))
	found, err = a.Has(k("x"))
	yes("Has", found, err)(false)
	found, err = a.Delete(ctx, k("b"))
	yes("Delete", found, err)(true)
	found, err = b.Delete(ctx, k("b"))
	yes("Delete", found, err)(false)
	if n, err := a.DeleteMany(ctx, [][]byte{k("a"), k("absent"), k("n")}); n != 2 || err != nil {
		t.Errorf("DeleteMany: %d, %v", n, err)
	}
	large := bytes.Repeat(k("large"), 25_000)
	must(t, a.Set(ctx, k("large"), large))
	if got := get(t, b, "large"); got != string(large) {
		t.Errorf("a large value has %d bytes", len(got))
	}
	if err := a.Set(ctx, k("huge"), make([]byte, a.MaxValue()+1)); !errors.Is(err, cache.ErrSize) {
		t.Errorf("a value that is too long: %v", err)
	}
	verify(t, b)
	stats, err := b.Stats()
	must(t, err)
	if stats.Limit != 1<<20 || stats.Entries == 0 || stats.Deleted != 3 || len(stats.Sessions) != 1 {
		t.Errorf("%+v", stats)
	}
	must(t, b.Purge(ctx))
	if got := get(t, a, "large"); got != "-" {
		t.Error("an entry is there after Purge")
	}
	if names, err := registry.List(ctx, s); err != nil || len(names) != 1 || names[0].Kind != "cache" || names[0].Size != 1<<20 {
		t.Errorf("%+v, %v", names, err)
	}
	must(t, a.Close())
	must(t, a.Close())
	if _, _, err := a.Get(k("a"), nil); !errors.Is(err, cache.ErrClosed) {
		t.Errorf("Get after Close: %v", err)
	}
	must(t, b.Set(ctx, k("a"), k("still"))) // the other handle goes on
	must(t, b.Close())
	must(t, registry.Delete(ctx, s, "c"))
	if _, err := cache.Open(ctx, s, "c", cache.Options{Limit: 1 << 20}); err != nil {
		t.Error(err)
	}
}

// TestLifetimes: entries end by TTL, without use, and each by its own.
func TestLifetimes(t *testing.T) {
	_, s := instance(t)
	c := open(t, s, "c", cache.Options{TTL: time.Minute, Checked: true})
	set := func(key string, w ...cache.With) { t.Helper(); must(t, c.Set(ctx, []byte(key), []byte("v"), w...)) }
	is := func(want string) {
		t.Helper()
		got := ""
		for _, key := range []string{"minute", "second", "ever", "idle", "stale"} {
			if _, found, err := c.Peek([]byte(key), nil); err != nil {
				t.Fatal(err)
			} else if found {
				got += key + " "
			}
		}
		if got = strings.TrimSpace(got); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	set("minute")
	set("second", cache.With{TTL: time.Second})
	set("ever", cache.With{TTL: cache.Forever})
	set("idle", cache.With{TTL: cache.Forever, Idle: 40 * time.Second})
	set("stale", cache.With{TTL: 2 * time.Second, Stale: time.Hour})
	is("minute second ever idle stale")
	if i, found, err := c.Info([]byte("minute")); !found || err != nil || i.TTL > time.Minute+time.Second || i.TTL < 50*time.Second || i.Idle != 0 {
		t.Errorf("%+v, %v, %v", i, found, err)
	}
	if i, found, err := c.Info([]byte("stale")); !found || err != nil || i.TTL > 3*time.Second || i.Stale < time.Hour-time.Second {
		t.Errorf("%+v, %v, %v", i, found, err)
	}
	cache.Pass(c, 5*time.Second)
	is("minute ever idle")
	cache.Pass(c, 30*time.Second)
	get(t, c, "idle") // is a use
	cache.Pass(c, 30*time.Second)
	is("ever idle")
	if found, err := c.Touch(ctx, []byte("idle"), cache.With{TTL: time.Hour}); !found || err != nil {
		t.Errorf("Touch: %v, %v", found, err)
	}
	cache.Pass(c, 50*time.Second)
	is("ever idle")
	if found, err := c.Touch(ctx, []byte("absent")); found || err != nil {
		t.Errorf("Touch: %v, %v", found, err)
	}
}

// TestWrongOptions: each is an error that names it.
func TestWrongOptions(t *testing.T) {
	_, s := instance(t)
	for says, o := range map[string]cache.Options{
		"Limit": {Limit: 5}, "Max": {Limit: 2 << 20, Max: 1 << 20}, "TTL": {Limit: 1 << 20, TTL: -1}, "Jitter": {Limit: 1 << 20, Jitter: 2},
		"MaxValue": {Limit: 1 << 20, MaxValue: -1}, "OnMismatch": {Limit: 1 << 20, OnMismatch: 9},
	} {
		if c, err := cache.Open(ctx, s, "c", o); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, %v", says, c, err)
		}
	}
	c := open(t, s, "c", cache.Options{})
	if err := c.Set(ctx, []byte("k"), nil, cache.With{}, cache.With{}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("two With: %v", err)
	}
	if err := c.Set(ctx, []byte("k"), nil, cache.With{Tags: []string{"", "", "", "", ""}}); !errors.Is(err, cache.ErrSize) {
		t.Errorf("five tags: %v", err)
	}
	if _, err := c.Load(ctx, []byte("k"), nil, nil); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("no loader: %v", err)
	}
}

// TestOff: a cache of Limit 0 finds nothing, stores nothing, and fails at nothing.
func TestOff(t *testing.T) {
	_, s := instance(t)
	c, err := cache.Open(ctx, s, "c", cache.Options{})
	must(t, err)
	must(t, c.Set(ctx, []byte("k"), []byte("v")))
	if got := get(t, c, "k"); got != "-" || c.Shared() || c.Limit() != 0 {
		t.Errorf("%q, %v", got, c.Shared())
	}
	if _, err := c.Incr(ctx, []byte("n"), 3); err != nil {
		t.Error(err)
	}
	if _, err := c.CompareAndSet(ctx, []byte("n"), nil, nil); err != nil {
		t.Error(err)
	}
	for range c.All(ctx) {
		t.Error("an entry")
	}
	if st, err := c.Stats(); err != nil || st.Entries != 0 {
		t.Errorf("%+v, %v", st, err)
	}
	must(t, c.Close())
	if _, _, err := c.Get([]byte("k"), nil); !errors.Is(err, cache.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if names, err := registry.List(ctx, s); err != nil || len(names) != 0 {
		t.Errorf("%v, %v", names, err)
	}
}

// TestMismatch: a cache of another version is refused, opened beside, or replaced by a private one; one without users
// goes.
func TestMismatch(t *testing.T) {
	cfg, s := instance(t)
	_ = cfg
	old := open(t, s, "c", cache.Options{Version: 1, Limit: 4 << 20})
	must(t, old.Set(ctx, []byte("k"), []byte("old")))
	if _, err := cache.Open(ctx, s, "c", cache.Options{Version: 2, Limit: 4 << 20}); !errors.Is(err, cache.ErrMismatch) || !strings.Contains(err.Error(), "version 1") {
		t.Errorf("Refuse: %v", err)
	}
	beside := open(t, s, "c", cache.Options{Version: 2, Limit: 4 << 20, OnMismatch: cache.Beside})
	private := open(t, s, "c", cache.Options{Version: 3, Limit: 4 << 20, OnMismatch: cache.Private})
	for _, c := range []*cache.Cache{beside, private} {
		if got := get(t, c, "k"); got != "-" {
			t.Errorf("another version's value: %q", got)
		}
		must(t, c.Set(ctx, []byte("k"), []byte("new")))
		verify(t, c)
	}
	if beside.Name() != "c@2" || beside.Limit() != 2<<20 || !beside.Shared() || private.Shared() || get(t, old, "k") != "old" {
		t.Errorf("%s, %d", beside.Name(), beside.Limit())
	}
	if _, err := registry.Segment[uint64](ctx, s, "word", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := cache.Open(ctx, s, "word", cache.Options{Limit: 1 << 20}); !errors.Is(err, cache.ErrMismatch) || !strings.Contains(err.Error(), "segment of uint64") {
		t.Errorf("another kind: %v", err)
	}
	must(t, old.Close())
	now := open(t, s, "c", cache.Options{Version: 4, Limit: 4 << 20, OnMismatch: cache.Private})
	if !now.Shared() || now.Name() != "c" {
		t.Errorf("an older cache without users stays: %s", now.Name())
	}
}

// TestResize: the limit goes down and up while the cache is used; what lies there is never more.
func TestResize(t *testing.T) {
	_, s := instance(t)
	limit, keys := int64(8<<20), 100_000
	if slow > 1 {
		limit, keys = limit/4, keys/4
	}
	most := 2*limit + 3<<12 // a size that no other object has
	c := open(t, s, "c", cache.Options{Limit: limit, Max: most})
	if c.Limit() != limit {
		t.Errorf("%d", c.Limit())
	}
	fill := func(limit int64) int {
		if c.Limit() != limit {
			t.Errorf("a limit of %d, and not %d", c.Limit(), limit)
		}
		for k := range keys {
			must(t, c.Set(ctx, []byte(name(k)), []byte(value(name(k)))))
		}
		st, err := c.Stats()
		must(t, err)
		verify(t, c)
		if is := allocated(most); is > limit || runtime.GOOS == "linux" && is < limit*3/4 {
			t.Errorf("%d bytes lie there: the limit is %d", is, limit)
		}
		return st.Entries
	}
	at1 := fill(limit)
	must(t, c.Resize(ctx, most))
	at2 := fill(most)
	must(t, c.Resize(ctx, limit))
	st, err := c.Stats()
	must(t, err)
	if at2 < at1*17/10 || st.Entries < at1*75/100 {
		t.Errorf("%d entries, %d in twice as much, then %d", at1, at2, st.Entries)
	}
	if again := fill(limit); again < at1*80/100 || again > at1*105/100 { // the index does not shrink
		t.Errorf("%d entries, then %d", at1, again)
	}
	for _, wrong := range []int64{0, 1 << 19, most + 4096} {
		if err := c.Resize(ctx, wrong); !errors.Is(err, cache.ErrSize) {
			t.Errorf("to %d: %v", wrong, err)
		}
	}
}

// TestAllAndRecord: All yields what Get would find; a trace has what was looked up.
func TestAllAndRecord(t *testing.T) {
	_, s := instance(t)
	var trace bytes.Buffer
	c := open(t, s, "c", cache.Options{Record: &trace})
	for k := range 500 {
		must(t, c.Set(ctx, []byte(name(k)), []byte(value(name(k))), cache.With{TTL: time.Hour}))
	}
	must(t, c.Set(ctx, []byte("over"), nil, cache.With{TTL: time.Second}))
	cache.Pass(c, time.Minute)
	seen := map[string]bool{}
	for i, err := range c.All(ctx) {
		must(t, err)
		if seen[string(i.Key)] = true; string(i.Value) != value(string(i.Key)) || i.Info.TTL <= 0 {
			t.Errorf("%s: %q %+v", i.Key, i.Value, i.Info)
		}
	}
	if len(seen) != 500 || seen["over"] {
		t.Errorf("%d keys", len(seen))
	}
	for range c.All(ctx) {
		break
	}
	for range 3 {
		get(t, c, "key")
	}
	must(t, c.Close())
	b := trace.Bytes()
	if len(b) != 3*8 || !bytes.Equal(b[:8], b[8:16]) {
		t.Errorf("a trace of %x", b)
	}
	errs := 0
	for _, err := range c.All(ctx) {
		if errors.Is(err, cache.ErrClosed) {
			errs++
		}
	}
	if errs != 1 {
		t.Errorf("All after Close: %d errors", errs)
	}
}

type point struct {
	X, Y int32
	Name [8]byte
}

// TestTyped: values of Go types, by a codec and without; what is of another type is not found.
func TestTyped(t *testing.T) {
	_, s := instance(t)
	c := open(t, s, "c", cache.Options{})
	points, err := cache.Of[uint64, point](c, nil)
	must(t, err)
	want := point{3, 4, [8]byte{'a'}}
	must(t, points.Set(ctx, 7, want))
	if p, found, err := points.Get(7); p != want || !found || err != nil {
		t.Errorf("%v, %v, %v", p, found, err)
	}
	numbers, err := cache.Of[uint64, [16]byte](c, nil)
	must(t, err)
	if _, found, err := numbers.Get(7); found || err != nil {
		t.Errorf("another type of the same size: %v, %v", found, err)
	}
	names, err := cache.Of[string](c, cache.JSON[[]string]())
	must(t, err)
	for range 2 {
		v, err := names.Load(ctx, "k", func(context.Context) ([]string, error) { return []string{"a", "b"}, nil })
		if err != nil || len(v) != 2 || v[1] != "b" {
			t.Errorf("%v, %v", v, err)
		}
	}
	if found, err := names.Delete(ctx, "k"); !found || err != nil {
		t.Errorf("%v, %v", found, err)
	}
	if _, err := cache.Of[struct {
		A byte
		B int64
	}, int](c, nil); !errors.Is(err, cache.ErrMismatch) {
		t.Errorf("keys with gaps: %v", err)
	}
	if _, err := cache.Of[int, string](c, nil); err == nil {
		t.Error("values with pointers need a codec")
	}
	if _, found, err := new(cache.Typed[int, int]).Get(1); found || !errors.Is(err, cache.ErrClosed) {
		t.Errorf("the zero one: %v, %v", found, err)
	}
}
