package cache

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/shm/logcache"
)

// Kinds of failure. They match with errors.Is.
var (
	ErrNotFound  = errkind.NotFound // a loader says so of a key without a value
	ErrSize      = errkind.Size     // not a size that a cache, a key or a value can have
	ErrClosed    = errkind.Closed   // after Close, or the end of the session
	ErrMismatch  = errkind.Mismatch // the name is of another kind or version, or a value is not of the type
	ErrCorrupt   = errkind.Corrupt
	ErrRecursive = errkind.Deadlock // a loader asks for the key that it loads
)

// MinLimit and MaxLimit bound Options.Limit.
const (
	MinLimit = 1 << 20
	MaxLimit = logcache.MaxLimit
)

// MaxTags is how many tags an entry can have.
const MaxTags = logcache.MaxTags

// Forever, as a TTL in With, is no end.
const Forever time.Duration = -1

// Options are a cache's. Limit, Max and Objects are those of the first Open, until the cache is deleted; all others
// count for what this process does.
type Options struct {
	// Limit is how many bytes the cache has: all of them, with its books. 0 is no cache: nothing is found, nothing
	// stored.
	Limit int64
	// Max is up to where Resize can raise the limit; 0: to Limit. The first Open needs as much memory for a moment,
	// and the instance's books count it for good.
	Max int64
	// MaxValue is the length of the longest value, 0: an eighth of Max, which is the most. A longer one is ErrSize.
	MaxValue int

	TTL    time.Duration // how long an entry lives, 0: without an end
	Jitter float64       // what part of its TTL an entry may live less, by chance, so that not all end at once: 0 to 1
	Idle   time.Duration // how long an entry lives that is not used, 0: that does not matter
	Stale  time.Duration // how long beyond its TTL Load may return an entry, while one loads the key in the background
	// Refresh is how long before the end of an entry Load has one load the key in the background.
	Refresh  time.Duration
	Negative time.Duration // how long Load remembers that there is no value
	// LoadTimeout is after how long another loads, since the one that does hangs, and when a load in the background ends.
	// 0: 30 s
	LoadTimeout time.Duration

	// Objects says that as many entries as possible should be hit; by default as many bytes.
	Objects bool
	// Checked says that each Get compares a checksum, so that bytes which a stray store has hit are never returned.
	Checked bool
	// Version is the program's own, of what its keys and values mean.
	Version uint64
	// OnMismatch says what Open does if the cache of that name has another version.
	OnMismatch OnMismatch
	// Record is written the hash of each key that is looked up in this process, as 8 bytes, big-endian: a trace that
	// a simulator can replay. Close flushes it.
	Record io.Writer
}

// OnMismatch is what Open does if the cache of a name has another version, as in a deployment that goes on step by step.
// Unless it is Refuse, Open first deletes an older cache that no session uses.
type OnMismatch int

const (
	Refuse  OnMismatch = iota // ErrMismatch
	Beside                    // a cache of its own under the name and the version, with half the limit
	Private                   // a cache of this process alone, in ordinary memory
)

// With is for one entry. Zeros are as Options say.
type With struct {
	TTL   time.Duration // Forever: without an end
	Idle  time.Duration
	Stale time.Duration
	Tags  []string // DeleteTag of each of them deletes the entry; at most MaxTags
}

func (o *Options) check() error {
	var errs []error
	no := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.Limit != 0 && (o.Limit < MinLimit || o.Limit > MaxLimit || o.Limit != int64(int(o.Limit))) {
		errs = append(errs, errkind.As(ErrSize, fmt.Errorf("option Limit is %d: it is 0, or from %d to %d, as far as this system has addresses",
			o.Limit, MinLimit, int64(MaxLimit))))
	}
	if o.Max != 0 && (o.Max < o.Limit || o.Max > MaxLimit || o.Max != int64(int(o.Max))) {
		errs = append(errs, errkind.As(ErrSize, fmt.Errorf("option Max is %d: it is 0, or from Limit to %d", o.Max, int64(MaxLimit))))
	}
	if o.MaxValue < 0 {
		no("option MaxValue is %d", o.MaxValue)
	}
	for name, d := range map[string]time.Duration{"TTL": o.TTL, "Idle": o.Idle, "Stale": o.Stale, "Refresh": o.Refresh,
		"Negative": o.Negative, "LoadTimeout": o.LoadTimeout} {
		if d < 0 {
			no("%s is %v", name, d)
		}
	}
	if !(o.Jitter >= 0 && o.Jitter <= 1) {
		no("option Jitter is %v: it is from 0 to 1", o.Jitter)
	}
	if o.OnMismatch < Refuse || o.OnMismatch > Private {
		no("option OnMismatch is %d", o.OnMismatch)
	}
	if len(errs) == 0 {
		return nil
	}
	return errkind.As(fs.ErrInvalid, errors.Join(errs...))
}

// size returns how many bytes the memory of a new cache with that limit has.
func (o *Options) size(limit int64) int { return int(max(limit, o.Max)) &^ (pageSize - 1) }
