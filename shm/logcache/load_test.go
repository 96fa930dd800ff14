package logcache_test

import (
	"testing"

	"github.com/godsm/godsm/shm/logcache"
)

// TestClaimOfKeyUnderLoadNeedsNoLock: those who want a key that is being loaded learn it while the shard's lock is held, and
// claim the load once it has ended.
func TestClaimOfKeyUnderLoadNeedsNoLock(t *testing.T) {
	c := heap(t, 1<<20, logcache.Options{})
	first, mine, err := c.Claim(ctx, name(1), false)
	if must(t, err); !mine {
		t.Fatal("a load that no session has is another's")
	}
	release, err := logcache.HoldLock(c, logcache.ShardOf(c, name(1)))
	must(t, err)
	again, mine, err := c.Claim(ctx, name(1), false)
	release()
	if must(t, err); mine || again != first {
		t.Errorf("the claim of a key under load is %v, mine %v; the load's own is %v", again, mine, first)
	}
	_, err = c.Delete(ctx, name(1)) // those who come now wait for it all the same; what it loads is not stored
	must(t, err)
	if again, mine, err = c.Claim(ctx, name(1), false); err != nil || mine || again != first {
		t.Errorf("after a Delete: %v, mine %v, %v", again, mine, err)
	}
	must(t, c.Abandon(ctx, first))
	second, mine, err := c.Claim(ctx, name(1), false)
	if must(t, err); !mine || second == first {
		t.Errorf("the claim of a key whose load has ended is %v, mine %v", second, mine)
	}
	if _, mine, err = c.Claim(ctx, name(2), false); err != nil || !mine {
		t.Errorf("the claim of another key: mine %v, %v", mine, err)
	}
}
