package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/bytesize"
	"github.com/godsm/godsm/internal/instance"
	"github.com/google/uuid"
)

// Instance looks at an instance's directory, at who lives there, and at what dead sessions have left:
// in it, and beside the private instances of this user. Known are the lives that were seen.
func (m Machine) Instance(ctx context.Context, cfg dsm.Config) (list []Finding, known []uuid.UUID) {
	backends := instance.Backends{Custom: cfg.Backend}
	dir, finding := m.directory(cfg.Dir)
	list = append(list, finding)
	if dir != nil {
		defer dir.Close()
		list = append(list, directoryFiles(dir.Path))
		r := dir.Remains(ctx, backends)
		known = append(known, r.Lives()...)
		list = append(list, living(dir.Path, r), others(dir.Path, r), leftovers(dir.Path, r))
		if r.Present.Standing == instance.Alive || r.Present.Standing == instance.Left {
			report, err := dsm.Inspect(ctx, cfg)
			list = append(list, books(report, err)...)
		}
	}
	private, ids := privateLeftovers(ctx, backends)
	return append(list, private), append(known, ids...)
}

func (m Machine) directory(path string) (*instance.Dir, Finding) {
	const check, elsewhere = "directory", "choose another directory: --dir DIR, DSM_DIR"
	d, err := instance.OpenDir(path)
	info, serr := os.Stat(path)
	refused := func(cure string) (*instance.Dir, Finding) {
		return nil, Finding{check, Bites, err.Error(), "nothing can be started or opened there", cure}
	}
	switch {
	case errors.Is(serr, fs.ErrNotExist):
		return nil, Finding{check, OK, path + " does not exist yet; a start makes it", "", ""}
	case err == nil:
	case errors.Is(err, dsm.ErrPermission) && serr == nil && info.Mode().Perm()&0o022 != 0:
		return refused("chmod go-w " + path)
	case errors.Is(err, dsm.ErrPermission):
		return refused("run as the owner of " + path + ", or " + elsewhere)
	default:
		return refused(elsewhere)
	}
	if err = writable(path); err != nil {
		err = fmt.Errorf("%s can't be written: %w", path, err)
		if errors.Is(err, syscall.EROFS) {
			return refused("mount -o remount,rw the file system of " + path + ", or " + elsewhere)
		}
		return refused("chmod u+rwx " + path)
	}
	size, free := m.Usage(path)
	found := fmt.Sprintf("%s, mode %#o, on a file system with %s free", path, info.Mode().Perm(), bytesize.Format(free))
	if size > 0 && free < 1<<20 {
		return d, Finding{check, Bites, found,
			"a start writes a few small files there, and type mmap its segments",
			"make room, or " + elsewhere}
	}
	return d, Finding{check, OK, found, "", ""}
}

// directoryFiles looks at what lies under the names of our files.
func directoryFiles(dir string) Finding {
	const check = "directory_files"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return Finding{check, Bites, err.Error(), "the directory can't be listed", "chmod u+rwx " + dir}
	}
	n := 0
	for _, e := range entries {
		name, path := e.Name(), filepath.Join(dir, e.Name())
		var is fs.FileMode // what it should be
		switch base, _, _ := strings.Cut(name, "."); {
		case name == "mmap":
			is = fs.ModeDir
		case name == "dsm.conf", base == "id", base == "instance", base == "lives", base == "supervisor",
			base == "members", base == "left":
		default:
			continue
		}
		n++
		if e.Type() != is {
			return Finding{check, Bites, fmt.Sprintf("%s is a %s", path, kinds[e.Type()]),
				"it stands under the name of a file of ours and is never followed, read or waited for",
				"rm -r " + path}
		}
	}
	return Finding{check, OK, fmt.Sprintf("%d files, all as they should be", n), "", ""}
}

var kinds = map[fs.FileMode]string{
	0: "file", fs.ModeDir: "directory", fs.ModeSymlink: "symbolic link", fs.ModeNamedPipe: "FIFO",
	fs.ModeSocket: "socket", fs.ModeDevice: "device",
	fs.ModeDevice | fs.ModeCharDevice: "device",
}

func living(dir string, r instance.Remains) Finding {
	const check = "instance"
	start := "dsmctl supervise --dir " + dir
	v := r.Present
	switch {
	case r.Hidden != nil:
		return Finding{check, Bites, fmt.Sprintf("%s can't be looked at: %v", dir, r.Hidden),
			"nothing can be said about it", "mend what the error names, and look again"}
	case r.Instance == uuid.Nil:
		return Finding{check, OK, "nothing has been started in " + dir, "", ""}
	case v.Record.Life == uuid.Nil, v.Standing == instance.Dead:
		return Finding{check, OK, fmt.Sprintf("no process lives in instance %s", r.Instance), "", ""}
	case v.Standing == instance.Alive && v.Supervised:
		return Finding{check, OK, fmt.Sprintf("instance %s runs, with %d sessions", r.Instance, v.Sessions), "", ""}
	case v.Standing == instance.Alive:
		return Finding{check, Note, fmt.Sprintf("%d sessions live in %s, and no supervisor", v.Sessions, dir),
			"they work on and reclaim each other's dead; there are no news of deaths, and no process keeps pins", start}
	case v.Standing == instance.Left:
		return Finding{check, Note, fmt.Sprintf("no process lives in %s: %s", dir, v.Why),
			"what is pinned stays in memory until the next supervisor adopts it, or the machine ends", start}
	case v.Standing == instance.OtherVersion:
		return Finding{check, Bites, v.Why, "this program can't join it, and a start is refused",
			"run the programs of one version; or stop those of the other, and start it again: " + start}
	case v.Standing == instance.OtherMemory:
		return Finding{check, Bites, fmt.Sprintf("%d processes live in %s, and %s", living0(v), dir, v.Why),
			"they can't be joined from here, and a start is refused",
			"work in the container that they run in, or unmount what hides their memory"}
	case v.Standing == instance.Bereft, v.Standing == instance.Garbled:
		f := Finding{check, Bites, fmt.Sprintf("%d processes live in %s, and %s", living0(v), dir, v.Why),
			"no process can join; a running supervisor begins a new life within a second", start}
		if v.Supervised {
			f.Cure = "look again in a second"
		}
		return f
	}
	return Finding{check, Note, fmt.Sprintf("no process of %s lives, and %s", dir, v.Why),
		"a start begins a new life and touches nothing of the old one", start}
}

func living0(v instance.Verdict) int {
	if v.Supervised {
		return v.Sessions + 1
	}
	return v.Sessions
}

// others looks for lives beside the present one, which are listed since they may have memory in the system.
func others(dir string, r instance.Remains) Finding {
	const check = "other_lives"
	var list []string
	for _, v := range r.Others {
		if v.Standing != instance.Dead {
			why := v.Why
			if v.Living() {
				why = fmt.Sprintf("%d of its fenced sessions live", v.Sessions)
			}
			list = append(list, fmt.Sprintf("%s: %s", v.Record, why))
		}
	}
	if len(list) == 0 {
		return Finding{check, OK, "none of " + dir + " that are in use", "", ""}
	}
	return Finding{check, Note, some(list),
		"earlier lives whose memory stays as long as it is in use; the supervisor, or the next start, removes it then", ""}
}

func leftovers(dir string, r instance.Remains) Finding {
	const check = "leftovers"
	switch {
	case len(r.Objects) == 0:
		return Finding{check, OK, "none of the instance in " + dir, "", ""}
	case r.Present.Supervised:
		return Finding{check, Note, some(r.Objects) + " of earlier generations",
			"the running supervisor removes them",
			""}
	case r.Present.Living():
		return Finding{check, Note, some(r.Objects) + " of earlier generations",
			"the next supervisor removes them", "dsmctl supervise --dir " + dir}
	}
	return Finding{check, Bites, some(r.Objects),
		"a dead instance left them; they take memory until the next start there",
		"dsmctl clean --dir " + dir}
}

// some names the first of many.
func some(names []string) string {
	if len(names) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), len(names)-3)
	}
	return strings.Join(names, ", ")
}

// books checks what the control segment of a living instance says.
func books(r dsm.Report, err error) (list []Finding) {
	if err != nil {
		return []Finding{{"control_segment", Bites, err.Error(), "the running instance can't be read", ""}}
	}
	for _, s := range r.Segments {
		switch {
		case s.Failed != nil:
			list = append(list, Finding{"stuck_rows", Bites,
				fmt.Sprintf("segment %s (%s) can't be removed: %v", s.Handle, s.OSName, s.Failed),
				"no session has it any more; the supervisor tries again every second",
				"see what is in the way: ls -ld " + s.OSName})
		case s.State == dsm.SegmentCorrupt:
			list = append(list, Finding{"stuck_rows", Bites, fmt.Sprintf("the row of segment %s is garbled", s.Handle),
				"a process has written into the control segment; attaching it is ErrCorrupt",
				"restart the supervisor"})
		}
	}
	if len(list) == 0 {
		list = append(list, Finding{"stuck_rows", OK, fmt.Sprintf("none in %d rows", len(r.Segments)), "", ""})
	}
	list = append(list, rows(r))
	for _, s := range r.Sessions {
		if s.State == dsm.SessionUnseen {
			list = append(list, Finding{"unseen_sessions", Note,
				fmt.Sprintf("process %d (%s) holds its place, and no process here has that pid", s.Pid, s.Application),
				"it is in another pid namespace; or it is dead, and a child that it forked without exec holds its place and " +
					"all that it held",
				"see which process has the instance's memory mapped: grep -l " + mark(r) + " /proc/[0-9]*/maps"})
		}
	}
	if h := r.Status.LockHolder; h != nil && h.State == dsm.SessionStopped {
		return append(list, Finding{"control_lock", Bites,
			fmt.Sprintf("held by process %d (%s), which is stopped", h.Pid, h.Application),
			"no session can create, attach or detach", fmt.Sprintf("kill -CONT %d", h.Pid)})
	}
	return append(list, Finding{"control_lock", OK, "no process holds it up", "", ""})
}

// FewLeft reports whether less than an eighth of a table's rows are left.
func FewLeft(used, most int) bool { return used > most-most/8 }

// rows checks how many segments there can still be. Names, connections and the growth of areas share them.
func rows(r dsm.Report) Finding {
	const check = "segment_rows"
	used, most := r.Status.Segments, r.Status.MaxSegments
	found := fmt.Sprintf("%d of %d (max_segments) are in use", used, most)
	if !FewLeft(used, most) {
		return Finding{check, OK, found, "", ""}
	}
	by := map[string]int{}
	maker := ""
	for _, s := range r.Segments {
		who := fmt.Sprintf("process %d (%s)", s.CreatorPid, s.Creator)
		if by[who]++; by[who] > by[maker] {
			maker = who
		}
	}
	return Finding{check, Bites, fmt.Sprintf("%s, %d of them made by %s", found, by[maker], maker),
		"names, connections and areas that grow need one each; when none is left they fail with ErrTooManySegments",
		"raise max_segments in dsm.conf, stop the sessions and start the supervisor again; or delete names: the rows come " +
			"back when the last session that uses them detaches"}
}

// mark returns what the lists of mappings of the instance's processes have in them.
func mark(r dsm.Report) string {
	for _, s := range r.Segments {
		if name := filepath.Base(s.OSName); len(name) == 29 {
			return name[:12]
		}
	}
	return "SYSV"
}

func privateLeftovers(ctx context.Context, b instance.Backends) (f Finding, known []uuid.UUID) {
	const check = "private_leftovers"
	var dead []string
	alive := 0
	for _, d := range instance.PrivateDirs() {
		r := d.Remains(ctx, b)
		locked := d.HasHolder()
		d.Close()
		known = append(known, r.Lives()...)
		switch {
		case r.Hidden != nil, locked, r.Present.Standing != instance.Dead && r.Present.Record.Life != uuid.Nil:
			alive++
		default:
			dead = append(dead, fmt.Sprintf("%s (%d objects)", d.Path, len(r.Objects)))
		}
	}
	if len(dead) > 0 {
		return Finding{check, Note, some(dead),
			"private instances whose processes were all killed; the next start or dsmctl command " +
				"of this user removes them",
			"dsmctl clean"}, known
	}
	return Finding{check, OK, fmt.Sprintf("none; %d private instances live", alive), "", ""}, known
}
