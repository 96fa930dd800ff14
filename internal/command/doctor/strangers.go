package doctor

import (
	"bufio"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/google/uuid"
)

// Strangers looks for objects of lives that are not known: their names look like ours and
// no process who can be seen has them mapped.
func (m Machine) Strangers(known []uuid.UUID) []Finding {
	if m.OS != "linux" {
		return nil
	}
	shorts := map[uint64]bool{}
	for _, id := range known {
		shorts[dsmimpl.ShortID(id)] = true
	}
	list := append(m.strangeFiles(shorts), m.strangeSysV(known)...)
	list = append(list, m.otherUsers()...)
	if len(list) == 0 {
		list = append(list, Finding{"unknown_objects", OK, "none that look like ours and that no process uses", "", ""})
	}
	return list
}

// strangeFiles finds those on the shm mount, one finding for each instance. One that a process has
// mapped is alive somewhere else.
func (m Machine) strangeFiles(known map[uint64]bool) (list []Finding) {
	entries, _ := fs.ReadDir(m.Root, "dev/shm")
	objects := map[uint64][]string{}
	for _, e := range entries {
		id, _, _, ok := dsmimpl.ParseName(e.Name())
		if ok && e.Type().IsRegular() && !known[id] && m.owner(e) == m.UID {
			objects[id] = append(objects[id], "/dev/shm/"+e.Name())
		}
	}
	if len(objects) == 0 {
		return nil
	}
	mapped := m.mapped()
	for _, id := range slices.Sorted(maps.Keys(objects)) {
		paths := objects[id]
		if slices.ContainsFunc(paths, func(p string) bool { return mapped[p] }) {
			continue
		}
		f := Finding{"unknown_objects", Note, some(paths),
			"they look like those of an instance, and no process that can be seen here has them mapped",
			"if no such instance runs in a container or for another user: rm " + paths[0][:len("/dev/shm/")+12] + "*"}
		if dir, listed := m.directoryOf(paths); dir != "" {
			f.Means = "they are of an instance in " + dir + ", and no process that can be seen here has them mapped"
			f.Cure = "dsmctl clean --dir " + dir
			if !listed {
				f.Means = "they are of an instance that was in " + dir + ", which knows nothing of them: it was removed, or made anew"
				f.Cure = "dsmctl clean --orphans"
			}
		}
		list = append(list, f)
	}
	return list
}

// mapped returns the files of the shm mount that processes have mapped, as far as their lists can be read.
func (m Machine) mapped() map[string]bool {
	found := map[string]bool{}
	lists, _ := fs.Glob(m.Root, "proc/[0-9]*/maps")
	for _, path := range lists {
		f, err := m.Root.Open(path)
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if at := strings.Index(lines.Text(), "/dev/shm/"); at >= 0 {
				found[lines.Text()[at:]] = true
			}
		}
		f.Close()
	}
	return found
}

// owner returns the user that a file belongs to; this one if it can't be told.
func (m Machine) owner(e fs.DirEntry) int {
	if info, err := e.Info(); err == nil {
		if uid, ok := ownerOf(info); ok {
			return uid
		}
	}
	return m.UID
}

// otherUsers says that there are instances of other users, which are theirs alone.
func (m Machine) otherUsers() []Finding {
	entries, _ := fs.ReadDir(m.Root, "dev/shm")
	users := map[int]bool{}
	for _, e := range entries {
		_, _, handle, ok := dsmimpl.ParseName(e.Name())
		if uid := m.owner(e); ok && handle == dsmimpl.ControlHandle && uid != m.UID {
			users[uid] = true
		}
	}
	if len(users) == 0 {
		return nil
	}
	var names []string
	for _, uid := range slices.Sorted(maps.Keys(users)) {
		names = append(names, strconv.Itoa(uid))
	}
	return []Finding{{"other_users", Note, "instances of user " + strings.Join(names, ", "),
		"an instance is for the processes of one user: this one can't join, see or clean them", "run as that user"}}
}

type sysvObject struct {
	key, id           int64
	perms             uint32
	size, nattch      uint64
	creatorPid, owner int
}

// sysvTable returns what the kernel lists for this ipc namespace.
func (m Machine) sysvTable() (list []sysvObject) {
	for line := range strings.Lines(m.text("proc/sysvipc/shm")) {
		var o sysvObject
		var perms string
		var lpid, gid int
		var uid int
		_, err := fmt.Sscan(line, &o.key, &o.id, &perms, &o.size, &o.creatorPid, &lpid, &o.nattch, &uid, &gid, &o.owner)
		if err != nil {
			continue // the heading
		}
		p, _ := strconv.ParseUint(perms, 8, 32)
		o.perms = uint32(p)
		list = append(list, o)
	}
	return list
}

// strangeSysV finds objects that may be an instance's: they have no names, so only their look
// speaks. Ours have a key, mode 0600, a size that is no whole number of pages.
func (m Machine) strangeSysV(known []uuid.UUID) []Finding {
	page := uint64(os.Getpagesize())
	marked := func(o sysvObject) bool {
		return slices.ContainsFunc(known, func(id uuid.UUID) bool {
			short := dsmimpl.ShortID(id)
			return uint64(uint32(o.key)>>16) == short>>12&0xffff && (o.size-1-short&0xfff)%page == 0
		})
	}
	var ids, names []string
	for _, o := range m.sysvTable() {
		looks := o.owner == m.UID && o.perms&0o777 == 0o600 && o.nattch == 0 && o.key != 0 && o.size%page != 0
		if looks && !marked(o) && !m.exists(fmt.Sprintf("proc/%d", o.creatorPid)) {
			ids = append(ids, fmt.Sprint(o.id))
			names = append(names, fmt.Sprintf("SysV shmid %d, key 0x%08x", o.id, uint32(o.key)))
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return []Finding{{"unknown_objects", Note, some(names),
		"they may be of an instance that is not known here, or of another program: this user's, attached by no process, " +
			"made by processes that are dead",
		"dsmctl clean --orphans, if they are an instance's; of another program, one by one: ipcrm -m " + ids[0]}}
}
