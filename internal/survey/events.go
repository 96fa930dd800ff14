package survey

import (
	"context"
	"slices"

	"github.com/godsm/godsm/dsm"
)

// ReadEvents adds the last events of the instance in cfg.Dir to the survey, the latest first, at most as many as most says. It
// works when nothing else can be seen of the instance, since all of its processes have ended. Without any the list is empty.
func (s *Survey) ReadEvents(ctx context.Context, cfg dsm.Config, most int) {
	s.Events = nil
	for e, err := range dsm.Events(ctx, cfg, false) {
		if err == nil {
			s.Events = append(s.Events, e)
		}
	}
	s.Events = slices.Clip(s.Events[max(0, len(s.Events)-most):])
	slices.Reverse(s.Events)
}
