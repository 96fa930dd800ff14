package doctor

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/shm"
	"github.com/google/uuid"
)

// sysvRow is a line of the kernel's table: owned by uid, made by process 77.
func sysvRow(key int64, size, perms, nattch, uid int) string {
	return fmt.Sprintf("key shmid perms size\n%d 9 %d %d 77 77 %d %d %d %d %d 0 0 0 0 0\n",
		key, perms, size, nattch, uid, uid, uid, uid)
}

func TestStrangeFiles(t *testing.T) {
	limits := control.Limits{Processes: 5, Segments: 64}
	alive, known, dead, lost := uuid.New(), uuid.New(), uuid.New(), uuid.New()
	name := func(id uuid.UUID, h uint64) string {
		return dsmimpl.Object{Life: id, Generation: 1, Handle: h}.Name()
	}
	controlBytes := make([]byte, control.Size(limits))
	c := control.Constants{Life: dead, Generation: 1, Backend: "posix", Dir: "/srv/dead", Limits: limits}
	if err := control.Format(shm.NewRegion(controlBytes), c); err != nil {
		t.Fatal(err)
	}
	root := healthy()
	put(root, "dev/shm/notes.txt", "")
	put(root, "dev/shm/"+name(alive, 5), "")
	put(root, "dev/shm/"+name(known, 5), "")
	put(root, "dev/shm/"+name(dead, 7), "")
	put(root, "dev/shm/"+name(dead, dsmimpl.ControlHandle), string(controlBytes))
	put(root, "dev/shm/"+name(lost, 3), "")
	put(root, "dev/shm/"+name(lost, dsmimpl.ControlHandle), "garbage")
	put(root, "srv/dead/lives", dead.String())
	put(root, "proc/44/maps", "7f00-7f01 rw-s 00000000 00:19 3   /dev/shm/"+name(alive, 5)+"\n")
	m := Machine{OS: "linux", Root: root, UID: 1000}
	list := m.Strangers([]uuid.UUID{known})
	if len(list) != 2 {
		t.Fatalf("%+v", list)
	}
	for _, f := range list {
		switch {
		case f.Status != Note || f.Check != "unknown_objects":
			t.Errorf("%+v", f)
		case strings.Contains(f.Found, name(dead, 7)):
			if f.Cure != "dsmctl clean --dir /srv/dead" {
				t.Errorf("%+v", f)
			}
		case strings.Contains(f.Found, name(lost, 3)):
			if !strings.HasSuffix(f.Cure, "rm /dev/shm/"+name(lost, 3)[:12]+"*") {
				t.Errorf("%+v", f)
			}
		default:
			t.Errorf("%+v", f)
		}
	}
	delete(root, "srv/dead/lives") // its directory is gone, so it can't be cleaned
	for _, f := range m.Strangers([]uuid.UUID{known}) {
		if strings.Contains(f.Found, name(dead, 7)) != (f.Cure == "dsmctl clean --orphans") {
			t.Errorf("%+v", f)
		}
	}
}

func TestStrangeSysV(t *testing.T) {
	page, id := os.Getpagesize(), uuid.New()
	short := dsmimpl.ShortID(id)
	ours := int64(int32(uint32(short>>12&0xffff)<<16 | 123))
	size := page + 1 + int(short&0xfff)
	if size%page == 0 {
		size++ // one in 4096 ids; then it is not ours, and not told from others
	}
	for _, c := range []struct {
		name  string
		table string
		known []uuid.UUID
		maker bool // still lives
		want  int
	}{
		{"a leftover", sysvRow(ours, size, 600, 0, 1000), nil, false, 1},
		{"known", sysvRow(ours, page+1+int(short&0xfff), 600, 0, 1000), []uuid.UUID{id}, false, 0},
		{"attached", sysvRow(ours, size, 600, 1, 1000), nil, false, 0},
		{"another user's", sysvRow(ours, size, 600, 0, 1001), nil, false, 0},
		{"open to others", sysvRow(ours, size, 666, 0, 1000), nil, false, 0},
		{"whole pages", sysvRow(ours, 2*page, 600, 0, 1000), nil, false, 0},
		{"private", sysvRow(0, size, 600, 0, 1000), nil, false, 0},
		{"its maker lives", sysvRow(ours, size, 600, 0, 1000), nil, true, 0},
		{"nothing", "key shmid\n", nil, false, 0},
	} {
		root := healthy()
		put(root, "proc/sysvipc/shm", c.table)
		if c.maker {
			put(root, "proc/77/stat", "")
		}
		list := Machine{OS: "linux", Root: root, UID: 1000}.Strangers(c.known)
		if got := len(list); got != 1 || (list[0].Status == Note) != (c.want == 1) {
			t.Errorf("%s: %+v", c.name, list)
		}
	}
}
