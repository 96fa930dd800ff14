package logcache

import (
	"errors"
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
)

func corrupt(format string, args ...any) error {
	return errkind.As(ErrCorrupt, fmt.Errorf("logcache: "+format, args...))
}

func errIfGone(err error) error {
	return corrupt("bytes are gone from under their mapping: the object was truncated, or its file system failed (%w)", err)
}

func (c *Cache) closed() error {
	if err := c.view.Err(); err != nil {
		return fmt.Errorf("logcache: %w", err)
	}
	return errkind.As(ErrClosed, errors.New("logcache: the cache is closed"))
}

// orClosed returns err or, after the end, ErrClosed: what was read since then means nothing.
func (c *Cache) orClosed(err error) error {
	if c.view.Ended() {
		return c.closed()
	}
	return err
}

// LoadError is returned by Await if the load has failed.
type LoadError struct {
	Failure Failure
	Text    string // an excerpt of at most 112 bytes
}

func (e *LoadError) Error() string { return e.Text }
