package logcache_test

import (
	"context"
	"fmt"
	"log"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/shm/logcache"
	"github.com/godsm/godsm/supervisor"
)

// A cache takes one segment, whose handle others attach. Package cache has caches by name.
func Example() {
	err := supervisor.Run(context.Background(), dsm.Config{}, func(ctx context.Context, s *dsm.Session) error {
		seg, err := s.Create(ctx, nil, 1<<20)
		if err != nil {
			return err
		}
		c, err := logcache.Create(seg.Region(), s.Self(), logcache.Options{})
		if err != nil {
			return err
		}
		if err := c.Set(ctx, []byte("answer"), []byte("42"), 0); err != nil {
			return err
		}

		c, err = logcache.Attach(seg.Region(), s.Self(), logcache.Options{}) // another process
		if err != nil {
			return err
		}
		v, found, err := c.Get([]byte("answer"), nil)
		fmt.Println(string(v), found, err)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: 42 true <nil>
}
