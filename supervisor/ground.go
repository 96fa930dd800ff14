package supervisor

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/sys/liveness"
)

// ground is what an instance stands on, and others may pull away: its directory, the files that joining needs, the
// memory of its control segment. It is looked at once a second. What can be mended is mended; what can't be is a reason
// to begin the next generation, unless that would be worse.
type ground struct {
	w       *watch
	moved   bool // the directory's path leads elsewhere
	covered bool // another memory is seen than the one that the instance's objects are in
	told    map[string]bool
	lost    time.Time // when the members file was found removed; zero if it is in its place
}

// checkGround returns a reason to begin the next generation, if there is one, or an error if the instance must end.
func (g *ground) checkGround(ctx context.Context) (why string, err error) {
	if err := g.checkPath(); err != nil || g.moved {
		return "", err
	}
	if why := g.restoreFiles(); why != "" {
		return why, nil
	}
	return g.checkMemory(ctx), nil
}

// checkPath compares the directory's path with the directory that is held open. Where it leads elsewhere, those that are
// in are served to their end, and nothing begins.
func (g *ground) checkPath() error {
	dir := g.w.s.dir
	moved, err := dir.Moved()
	if err != nil {
		return nil // the system refuses to look; next time
	}
	switch {
	case moved && !g.moved:
		g.w.s.log.Error().Str("dir", dir.Path).Str("event", "directory-moved").Msg("the directory has been moved or removed: its path leads elsewhere. " +
			"Sessions go on; nothing is written there, and the supervisor ends with the last session")
	case !moved && g.moved:
		g.w.s.log.Warn().Str("dir", dir.Path).Str("event", "directory-back").Msg("the directory is back where it was")
	}
	if g.moved = moved; !moved {
		return nil
	}
	if n, err := g.w.m.Books.Living(); err == nil && n > 0 {
		return nil
	}
	return g.errHomeless()
}

// errHomeless returns why an instance ends whose directory has been moved.
func (g *ground) errHomeless() error {
	path := g.w.s.dir.Path
	return fmt.Errorf("the directory %s was moved or removed under the running instance, and the last session has left; "+
		"start it anew where it shall be: dsmctl supervise --dir %s", path, path)
}

// restoreFiles writes again what a newcomer needs and finds damaged.
func (g *ground) restoreFiles() (why string) {
	w := g.w
	if why := g.restoreMembers(); why != "" {
		return why
	}
	for name, err := range w.s.dir.Restore(w.m.Books.Record, w.s.log) {
		g.logFinding(name+" restored", err == nil, "it was removed or damaged, and is written again", name, nil)
		g.logFinding(name, err != nil, "it was removed or damaged, and can't be written now; it is tried again every second",
			name, err)
	}
	return ""
}

// membersPatience is how long sessions are waited for that do not take their rows in a new members file: one of which a
// forked child alone has the witness, or that may not open the file any more. One that is stopped is waited for for as
// long as it takes.
const membersPatience = 10 * time.Second

// restoreMembers puts another members file in the place of one that was removed or replaced.
func (g *ground) restoreMembers() (why string) {
	w := g.w
	if !w.m.Books.MembersLost() && !w.m.Books.MembersPending() {
		return ""
	}
	if g.lost.IsZero() {
		g.lost = time.Now()
		w.s.log.Warn().Str("event", "members-lost").Msg("the members file has been removed or replaced, by a cleaner perhaps: another one is made")
	}
	ctx, cancel := context.WithTimeout(context.Background(), reclaimPatience)
	defer cancel()
	behind, err := w.m.RenewMembers(ctx)
	switch {
	case errors.Is(err, dsm.ErrUnsupported), errors.Is(err, syscall.EISDIR):
		return fmt.Sprintf("the members file has been removed or replaced (%v): no session could join", err)
	case groundIsLost(err):
		return fmt.Sprintf("the supervisor can't work on the control segment (%v)", err)
	case err != nil:
		g.logFinding("members", true, "another members file can't be written now; it is tried again every second",
			"members", err)
		return ""
	case !w.m.Books.MembersPending():
		w.s.log.Warn().Str("event", "members-renewed").Msg("another members file is in the place of the one that was removed: new sessions can join")
		g.lost = time.Time{}
		g.told["members"], g.told["behind"] = false, false
		return ""
	}
	for _, p := range behind {
		if liveness.Stopped(p.Pid) {
			if !g.told["behind"] {
				w.s.log.Error().Int("pid", p.Pid).Str("application", p.Application).Str("event", "members-held-up").Msg("no new session can join, since the " +
					"members file was removed and this process, which is stopped, has not heard of the new one: continue or kill it")
			}
			g.told["behind"] = true
			return ""
		}
	}
	if time.Since(g.lost) > membersPatience {
		return fmt.Sprintf("the members file has been removed, and process %d (%s) does not take its row in another one: "+
			"no new session could join", behind[0].Pid, behind[0].Application)
	}
	return ""
}

// logFinding logs what is so once, until it is not so any more.
func (g *ground) logFinding(key string, is bool, what, name string, err error) {
	if is && !g.told[key] {
		g.w.s.log.Warn().Err(err).Str("file", name).Str("event", "file-damaged").Msg(what)
	}
	g.told[key] = is
}

// checkMemory checks whether new processes can map the instance's objects, and returns why not if a new generation must
// begin. If another mount hides the objects, checkMemory logs that, and returns "" as long as the instance has
// segments or living sessions: the mount may be removed again, and then new processes find the objects.
func (g *ground) checkMemory(ctx context.Context) (why string) {
	w := g.w
	what := w.m.Books.Lost(ctx)
	if what == "" {
		if g.covered {
			w.s.log.Warn().Str("event", "memory-back").Msg("the instance's memory can be seen again")
		}
		g.covered = false
		return ""
	}
	seen, same := w.m.Books.SeesMemory()
	if same {
		if w.m.Books.Backend.Name() == "mmap" {
			return "the " + what + " has been removed, by a cleaner perhaps"
		}
		return "the " + what + " has been removed (systemd's RemoveIPC does that: see dsmctl doctor)"
	}
	if !g.covered {
		w.s.log.Error().Str("memory", w.m.Books.Record.Memory).Str("seen", seen).Str("event", "memory-hidden").Msg("another mount hides the instance's memory: " +
			"sessions go on, and no new one can join until it is unmounted")
	}
	g.covered = true
	if rows, _, err := w.m.Books.Table.Used(); err != nil || rows > 0 {
		return ""
	}
	if n, err := w.m.Books.Living(); err != nil || n > 0 {
		return ""
	}
	return "another mount hides the instance's memory, in which nothing is"
}

// groundIsLost reports whether an error says that the control segment can't be worked on any more.
func groundIsLost(err error) bool {
	return errors.Is(err, dsm.ErrCorrupt) || errors.Is(err, dsm.ErrStale)
}
