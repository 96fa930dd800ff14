package instance

import (
	"context"
	"errors"
	"io/fs"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/rs/zerolog"
)

// sweep removes the objects in the system that bear a life: of a life that is over, or that this process ends. It goes
// through every backend of the system that can list, since a record may be lost. Where only is set, objects that it
// refuses stay. It returns how many it removed, and how many are left.
func (d *Dir) sweep(ctx context.Context, b Backends, r Record, only func(leftover) bool,
	log zerolog.Logger) (removed, left int) {
	for _, x := range d.leftovers(ctx, b, r, log) {
		failpoint.Hit("instance/sweep/found")
		if only != nil && !only(x) {
			left++
			continue
		}
		if err := x.backend.Destroy(ctx, x.object); err != nil {
			log.Warn().Err(err).Str("object", x.where()).Str("event", "leftover-kept").Msg("could not remove a leftover")
			left++
			continue
		}
		removed++
	}
	failpoint.Hit("instance/sweep/swept")
	if removed > 0 {
		log.Info().Int("objects", removed).Str("event", "leftovers-removed").Msg("removed leftovers that no control segment listed")
	}
	return removed, left
}

// sweepDeadLife removes all that bears a life of which no process lives in this directory, and strikes it off the
// list. What processes elsewhere have open stays, if only is set, and so does the life then.
func (d *Dir) sweepDeadLife(ctx context.Context, b Backends, r Record, only func(leftover) bool,
	log zerolog.Logger) (removed int, err error) {
	removed, left := d.sweep(ctx, b, r, only, log)
	if left > 0 {
		return removed, errLeft
	}
	d.removeMembers(r)
	failpoint.Hit("instance/clear/members")
	if err := d.removeLife(r, log); err != nil && !errors.Is(err, fs.ErrNotExist) { // else the directory has been removed
		log.Warn().Err(err).Str("event", "life-unstruck").Msg("a life of which nothing is left stays listed; the next start finds that out")
	}
	return removed, nil
}

var errLeft = errors.New("some objects could not be removed, or are in use: they are looked for again")
