package cache_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/supervisor"
)

// inInstance runs f with a session of an instance of its own. A server's workers open sessions of one that runs already.
func inInstance(f func(ctx context.Context, s *dsm.Session) error) {
	if err := supervisor.Run(context.Background(), dsm.Config{}, f); err != nil {
		log.Fatal(err)
	}
}

// Of all goroutines of all processes one renders the page, all others get it.
func ExampleCache_Load() {
	inInstance(func(ctx context.Context, s *dsm.Session) error {
		c, err := cache.Open(ctx, s, "pages", cache.Options{Limit: 8 << 20, TTL: time.Hour, Jitter: 0.1})
		if err != nil {
			return err
		}
		defer c.Close()
		for range 3 {
			page, err := c.Load(ctx, []byte("/index"), nil, func(context.Context) ([]byte, error) {
				fmt.Println("rendering")
				return []byte("<h1>index</h1>"), nil
			})
			if err != nil {
				return err
			}
			fmt.Printf("%s\n", page)
		}
		return nil
	})
	// Output:
	// rendering
	// <h1>index</h1>
	// <h1>index</h1>
	// <h1>index</h1>
}

// The pages of a user go together, by one store.
func ExampleCache_DeleteTag() {
	inInstance(func(ctx context.Context, s *dsm.Session) error {
		c, err := cache.Open(ctx, s, "pages", cache.Options{Limit: 1 << 20})
		if err != nil {
			return err
		}
		defer c.Close()
		for _, page := range []string{"/profile", "/orders"} {
			if err := c.Set(ctx, []byte(page), []byte("..."), cache.With{Tags: []string{"user 7"}}); err != nil {
				return err
			}
		}
		if err := c.DeleteTag("user 7"); err != nil {
			return err
		}
		found, err := c.Has([]byte("/orders"))
		fmt.Println(found)
		return err
	})
	// Output: false
}

type user struct {
	Name   string
	Visits int
}

// Values of Go types need a codec, unless they have no pointers.
func ExampleOf() {
	inInstance(func(ctx context.Context, s *dsm.Session) error {
		c, err := cache.Open(ctx, s, "users", cache.Options{Limit: 1 << 20, Negative: time.Minute})
		if err != nil {
			return err
		}
		defer c.Close()
		users, err := cache.Of[uint64](c, cache.JSON[user]())
		if err != nil {
			return err
		}
		query := func(context.Context) (user, error) { return user{"Ann", 3}, nil }
		ann, err := users.Load(ctx, 7, query)
		if err != nil {
			return err
		}
		_, err = users.Load(ctx, 8, func(context.Context) (user, error) { return user{}, cache.ErrNotFound })
		fmt.Println(ann, errors.Is(err, cache.ErrNotFound))
		return nil
	})
	// Output: {Ann 3} true
}
