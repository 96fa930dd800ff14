package cache_test

import (
	"testing"

	"github.com/godsm/godsm/cache"
)

// TestGetManyOfMoreThanAreFetchedAtATime: each key that is there is found, with its own value, however many are asked for.
func TestGetManyOfMoreThanAreFetchedAtATime(t *testing.T) {
	_, s := instance(t)
	c := open(t, s, "c", cache.Options{})
	var keys [][]byte
	for i := range 100 {
		keys = append(keys, []byte(name(i)))
		if i%3 > 0 {
			must(t, c.Set(ctx, keys[i], []byte(value(name(i)))))
		}
	}
	for _, n := range []int{0, 1, 2, 7, 8, 9, 16, 17, 100} {
		next := 0 // no key before it that is there has been passed
		must(t, c.GetMany(keys[:n], func(i int, v []byte) {
			for ; next < i; next++ {
				if next%3 > 0 {
					t.Errorf("%d keys: key %d is not found", n, next)
				}
			}
			if next++; string(v) != value(name(i)) {
				t.Errorf("%d keys: key %d has the value %q", n, i, v)
			}
		}))
		if want := n - (n+2)/3; next < n-1 && want > 0 {
			t.Errorf("%d keys: the last that is found is %d", n, next-1)
		}
	}
	st, err := c.Stats()
	must(t, err)
	if n := st.Total.Hits + st.Total.Misses; n != 0+1+2+7+8+9+16+17+100 {
		t.Errorf("%d lookups are counted", n)
	}
}
