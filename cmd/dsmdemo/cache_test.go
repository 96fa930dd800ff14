package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
)

func TestCacheCommands(t *testing.T) {
	p := newPlace(t)
	p.supervise()
	if got := p.ok("cache", "ls", "--json"); got != "[]\n" {
		t.Errorf("no cache: %q", got)
	}
	p.fails(1, `no cache "pages"`, "cache", "set", "pages", "k", "v")
	p.fails(1, `no cache "pages"`, "cache", "stats", "pages")
	p.fails(2, "a cache has from 1 MB", "cache", "set", "pages", "k", "v", "--create", "10")
	p.fails(2, "not hexadecimal", "cache", "get", "--hex", "pages", "xyz")
	p.fails(2, "unknown command", "cache", "nonsense")

	content := "\x00value\xff\n"
	if _, errs, status := p.run(content, "cache", "set", "pages", "--hex", "00ff", "-", "--create", "2MB"); status != 0 {
		t.Fatal(errs)
	}
	p.ok("cache", "set", "pages", "short", "lived", "--ttl", "1h")
	if got := p.ok("cache", "get", "pages", "--hex", "00ff"); got != content {
		t.Errorf("got %q", got)
	}
	one := parse[struct {
		Key    []byte  `json:"key_base64"`
		Size   int     `json:"size"`
		Base64 []byte  `json:"base64"`
		TTL    float64 `json:"ttl_seconds"`
	}](t, p.ok("cache", "get", "pages", "short", "--json"))
	if string(one.Key) != "short" || string(one.Base64) != "lived" || one.Size != 5 || one.TTL < 3000 || one.TTL > 3600 {
		t.Errorf("%+v", one)
	}
	p.fails(1, "no entry", "cache", "get", "pages", "none")

	rows := parse[[]cacheRow](t, p.ok("cache", "ls", "--json"))
	if len(rows) != 1 || rows[0].Name != "pages" || rows[0].Limit != 2<<20 || rows[0].Entries != 2 || rows[0].Sessions != 0 {
		t.Errorf("%+v", rows)
	}
	report := parse[cacheReport](t, p.ok("cache", "stats", "pages", "--json"))
	if report.Entries != 2 || report.Total.Sets != 2 || report.Limit != 2<<20 || report.Total.Hits+report.Total.Misses != 0 {
		t.Errorf("%+v", report)
	}
	verified := parse[[]cacheVerifyRow](t, p.ok("cache", "verify", "pages", "--json"))
	if len(verified) != 1 || verified[0].Entries != 2 || len(verified[0].Problems) != 0 {
		t.Errorf("%+v", verified)
	}
	if got := p.ok("cache", "curve", "pages", "--json"); got != "[]\n" {
		t.Errorf("curve: %q", got)
	}
	for _, c := range []string{"ls", "stats pages", "curve pages", "verify", "verify pages", "top --times 1 --interval 10ms"} {
		if got := p.ok(append([]string{"cache"}, strings.Fields(c)...)...); got == "" {
			t.Errorf("cache %s prints nothing", c)
		}
	}
	p.fails(2, "--interval", "cache", "top", "--interval", "-1s")

	p.ok("cache", "purge", "pages", "--hex", "--key", "00ff")
	p.fails(1, "no entry", "cache", "purge", "pages", "--hex", "--key", "00ff")
	p.fails(2, "one of --key and --tag", "cache", "purge", "pages", "--key", "x", "--tag", "y")
	p.ok("cache", "purge", "pages")
	p.fails(1, "no entry", "cache", "get", "pages", "short")
	p.ok("verify") // which walks areas, and has none here
}

// TestCacheCommandsBesideUse: caches of other programs, of any version, are looked into while they are used.
func TestCacheCommandsBesideUse(t *testing.T) {
	p := newPlace(t)
	p.supervise()
	s, err := dsm.Open(t.Context(), dsm.Config{Dir: p.dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := cache.Open(t.Context(), s, "pages", cache.Options{Limit: 4 << 20, Version: 77})
	if err != nil {
		t.Fatal(err)
	}
	set := func(from, to int) {
		for k := from; k < to; k++ {
			key := fmt.Appendf(nil, "key %d", k)
			if _, _, err := c.Get(fmt.Appendf(nil, "key %d", k/2), nil); err != nil {
				t.Error(err)
			}
			if err := c.Set(t.Context(), key, make([]byte, 100), cache.With{Tags: []string{fmt.Sprint("tag ", k%2)}}); err != nil {
				t.Error(err)
			}
		}
	}
	set(0, 150_000)
	if _, err := c.Stats(); err != nil { // writes what it has counted
		t.Fatal(err)
	}
	rows := parse[[]cacheRow](t, p.ok("cache", "ls", "--json"))
	if len(rows) != 1 || rows[0].Version != 77 || rows[0].Sessions != 1 || rows[0].Lookups != 150_000 || rows[0].HitRate == 0 || rows[0].Evicted == 0 {
		t.Errorf("%+v", rows)
	}
	report := parse[cacheReport](t, p.ok("cache", "stats", "pages", "--json"))
	if len(report.Sessions) != 1 || !report.Sessions[0].Alive || report.Sessions[0].Sets != 150_000 {
		t.Errorf("%+v", report.Sessions)
	}
	next := 150_000
	for len(c.Curve()) == 0 && next < 3_000_000 { // until enough is known
		set(next, next+50_000)
		next += 50_000
	}
	curve := parse[[]curveRow](t, p.ok("cache", "curve", "pages", "--json"))
	if len(curve) != 4 || curve[1].Times != 1 || curve[1].Limit != 4<<20 || curve[0].HitRate > curve[3].HitRate+0.01 {
		t.Errorf("%+v", curve)
	}

	top := p.start("cache", "top", "--json", "--interval", "20ms", "--times", "100")
	for k := next; ; k += 1000 { // until it has been seen
		set(k, k+1000)
		list := parse[[]topRow](t, top.Expect("")+"\n")
		if len(list) == 1 && list[0].Sets > 0 && list[0].Lookups > 0 && list[0].Limit == 4<<20 {
			break
		}
	}
	top.Kill()

	set(10, 11)
	p.ok("cache", "purge", "pages", "--tag", "tag 0")
	if _, found, err := c.Get([]byte("key 10"), nil); found || err != nil {
		t.Error("an entry is there whose tag was deleted")
	}
	p.ok("cache", "purge", "pages")
	if st, err := c.Stats(); err != nil || st.Entries != 0 {
		t.Errorf("%d entries after purge, %v", st.Entries, err)
	}
	if verified := parse[[]cacheVerifyRow](t, p.ok("cache", "verify", "--json")); len(verified) != 1 || len(verified[0].Problems) != 0 {
		t.Errorf("%+v", verified)
	}
}
