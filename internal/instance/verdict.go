package instance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/sys/liveness"
)

// Standing is what is with a life.
type Standing int

const (
	Dead         Standing = iota // no process has it: what is left of it may be removed
	Alive                        // its processes are of this directory, and its memory can be seen
	Bereft                       // alive, and its control segment has been removed
	Garbled                      // alive, and its control segment can't be trusted
	OtherMemory                  // alive, and its memory is not the one that this process sees
	OtherVersion                 // alive, and of a program with another layout
	Elsewhere                    // no process is of this directory, and some process has the memory open
	Unseen                       // no process is of this directory, and its memory can't be seen from here
	Left                         // no process is of this directory, and its supervisor handed it over: the next one adopts it
)

// Verdict is the one answer to what is with a life. Only one that is Dead lets anything be removed.
//
// There are two witnesses. The members file of this very directory shows which processes live that joined through it.
// The kernel knows whether any process has the control segment open: one of a directory with the same contents, of
// another container, or one that no table lists.
type Verdict struct {
	Record     Record
	Standing   Standing
	Supervised bool
	Sessions   int    // that live, of this directory
	Why        string // the evidence
	scattered  bool   // dead, and without a control segment: objects that are in use stay
	succession bool   // the members file is not the one in force: sessions that live have another one come in force
}

// Living reports whether a process that joined through this directory lives.
func (v Verdict) Living() bool { return v.Supervised || v.Sessions > 0 }

// How long a life without a members file is asked whether its memory is in use, and how long its sessions are given to
// have another members file come in force.
const (
	missingPatience    = time.Second
	successionPatience = 3 * time.Second
)

// judge finds out what is with a life. It waits so long for processes that seem to live to be seen dead. An error says
// that the system refused to look.
func (d *Dir) judge(ctx context.Context, b Backends, r Record, patience time.Duration) (Verdict, error) {
	begin := time.Now()
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 30*time.Millisecond) {
		v, missing, err := d.judgeOnce(ctx, b, r)
		wait := patience
		switch {
		case err != nil, v.Standing == Dead, v.Standing == Unseen, v.Standing == Left:
			return v, err
		case patience == 0:
		case v.succession:
			wait = max(patience, successionPatience)
		case missing:
			wait = max(patience, missingPatience)
		}
		if time.Since(begin) > wait || ctx.Err() != nil {
			return v, nil
		}
		time.Sleep(pause)
	}
}

// judgeOnce judges a life at this moment. Missing reports whether there is no members file to ask.
func (d *Dir) judgeOnce(ctx context.Context, b Backends, r Record) (v Verdict, missing bool, err error) {
	v.Record = r
	roll, err := liveness.OpenIn(d.Folder, r.membersFile())
	switch {
	case err == nil:
		defer roll.Close()
	case refusedBySystem(err) != nil:
		return v, false, err
	}
	if roll != nil {
		v.Supervised = roll.Held(control.SupervisorRow)
		if v.Sessions, err = countHeldWitnesses(roll); err != nil {
			return v, false, err
		}
		if v.Supervised {
			v.Sessions--
		}
	}
	if v.Living() {
		return v, false, d.judgeLiving(ctx, b, &v)
	}
	return v, roll == nil, d.judgeDeserted(ctx, b, &v)
}

// judgeLiving judges a life whose witnesses are held.
func (d *Dir) judgeLiving(ctx context.Context, b Backends, v *Verdict) error {
	r := v.Record
	if err := d.errOtherVersion(r); r.Backend != "" && err != nil {
		v.Standing, v.Why = OtherVersion, err.Error()
		return nil
	}
	backend, err := d.backend(b, r)
	if err != nil {
		v.Standing, v.Why = Garbled, err.Error()
		return nil
	}
	books, err := d.OpenBooks(ctx, r, backend, dsmimpl.ReadOnly)
	switch {
	case err == nil:
		books.Close()
		v.Standing = Alive
	case refusedBySystem(err) != nil && !errors.Is(err, errkind.Permission):
		return err
	case !errors.Is(err, errkind.NotFound):
		v.Standing, v.Why = Garbled, err.Error()
		v.succession = errors.Is(err, errMembers)
	case !sameMemory(backend, r):
		v.Standing, v.Why = OtherMemory, fmt.Sprintf("its memory is %s, and this process sees %s: "+
			"it runs in another container, or a mount hides its memory", r.Memory, memoryOf(backend))
	default:
		v.Standing, v.Why = Bereft, "its control segment has been removed"
	}
	return nil
}

// judgeDeserted judges a life of whose witnesses none is held in this directory.
func (d *Dir) judgeDeserted(ctx context.Context, b Backends, v *Verdict) error {
	r := v.Record
	if r.Backend == "" { // known by its members file alone
		v.Standing, v.scattered = Dead, true
		return nil
	}
	backend, err := d.backend(b, r)
	if err != nil {
		v.Standing, v.Why = Unseen, err.Error()
		return nil
	}
	boot, err := bootID()
	if err != nil {
		return err
	}
	used, err := d.objectIsInUse(ctx, backend, r.controlObject(), r)
	h, left, elsewhere := d.HandedOver(r)
	switch {
	case err == nil && left && d.errOtherVersion(r) != nil:
		v.Standing, v.Why = OtherVersion, d.errOtherVersion(r).Error()
	case err == nil && left:
		v.Standing, v.Why = Left, h.String()
	case err == nil && used:
		v.Standing, v.Why = Elsewhere, "its memory is in use by a process that is not of this directory: "+
			"this may be a copy of its directory, or the process runs in another container, or is a child of a session"
		v.succession = r.Dir == d.Identity() && d.membersLost(ctx, r, backend)
	case err == nil && elsewhere:
		v.Standing, v.Why = Elsewhere, h.String()+", and this is a copy of the directory that it left"
	case err == nil:
		v.Standing = Dead
	case errors.Is(err, errkind.Permission):
		v.Standing, v.scattered = Dead, true // another user's object stands under the name: ours is not there
	case errors.Is(err, errkind.Unsupported), errors.Is(err, errkind.Disabled):
		v.Standing, v.Why = Unseen, err.Error()
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case r.Boot != boot && (r.Backend != "mmap" || r.recordIsInOwnDirectory()), sameMemory(backend, r): // else its files may be unmounted
		v.Standing, v.scattered = Dead, true
	default:
		v.Standing, v.Why = Unseen, fmt.Sprintf("its memory is %s, and this process sees %s", r.Memory, memoryOf(backend))
	}
	return nil
}

// verdictIsUncertain reports whether another directory may have the life's processes. A life ends with the machine's.
func (d *Dir) verdictIsUncertain(r Record) bool {
	boot, err := bootID()
	return err != nil || r.Boot == boot && r.Dir != d.Identity() && !r.recordIsInOwnDirectory()
}

func countHeldWitnesses(r *liveness.Roll) (int, error) { return r.Count(control.MaxProcesses + 1) }

// String says which life it is about, and what is with it.
func (v Verdict) String() string {
	switch {
	case v.Standing == Dead:
		return fmt.Sprintf("%s, which is dead", v.Record)
	case v.Why == "":
		return fmt.Sprintf("%s, in which %d sessions live", v.Record, v.Sessions)
	case v.Living():
		return fmt.Sprintf("%s, in which %d sessions live: %s", v.Record, v.Sessions, v.Why)
	}
	return fmt.Sprintf("%s: %s", v.Record, v.Why)
}
