package dsm

import (
	"fmt"
	"runtime"
	"strings"
)

// trail is where a Segment was attached and detached. It is kept in checked mode only: to look at the stack costs twice
// as much as a second attach.
type trail struct{ attached, detached site }

// site is a piece of a call stack, of 16 frames at most, from the call that was made of this package on. It holds
// program counters, which String looks up only when an error is made.
type site [16]uintptr

// callSite returns the site of the call that this package's exported function was given.
func callSite() (s site) {
	runtime.Callers(3, s[:])
	return s
}

// String returns the file and line of the caller of this package. Frames of this package and of resowner are skipped,
// so an owner that ends is not named as the caller.
func (s *site) String() string {
	frames := runtime.CallersFrames(s[:])
	for {
		f, more := frames.Next()
		if f.Function != "" && !siteIsOurs(f.Function) {
			return fmt.Sprintf("%s:%d", f.File, f.Line)
		}
		if !more {
			return "a place that is not known"
		}
	}
}

// siteIsOurs reports whether a function, by its full name, is of this package or of resowner.
func siteIsOurs(function string) bool {
	_, rest, _ := strings.Cut(function, "github.com/godsm/godsm/")
	return strings.HasPrefix(rest, "dsm.") || strings.HasPrefix(rest, "resowner.")
}

// errDetachedAt returns the error of a call on a Segment that is detached, in checked mode with the lines that
// attached and detached it.
func (g *Segment) errDetachedAt() error {
	if g.attachment == nil {
		return fmt.Errorf("%w: this Segment is the zero one, of no session", ErrClosed)
	}
	if g.trail == nil {
		return fmt.Errorf("%w: the segment was detached (checked = on would tell where)", ErrClosed)
	}
	return fmt.Errorf("%w: the segment was attached at %s, detached at %s",
		ErrClosed, &g.trail.attached, &g.trail.detached)
}

// errLateUse returns what makes the error of shm.Fault for a use of the segment's bytes after the end. At is the byte.
func (t *trail) errLateUse(h Handle) func(at int) error {
	return func(at int) error {
		return fmt.Errorf("byte %d of segment %s was used after its end: attached at %s, detached at %s",
			at, h, &t.attached, &t.detached)
	}
}

// trailText returns where a segment that is in use was attached, in parentheses, and where it was detached if it was
// since; empty outside of checked mode.
func (g *Segment) trailText() string {
	if g.trail == nil {
		return ""
	}
	if a, is := g.lockAttached(); is {
		defer a.mu.Unlock()
		return fmt.Sprintf(" (attached at %s)", &g.trail.attached)
	}
	return fmt.Sprintf(" (attached at %s, detached at %s)", &g.trail.attached, &g.trail.detached)
}
